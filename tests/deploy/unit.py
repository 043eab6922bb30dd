"""A service's unit file, as far as ours says anything, and what systemd would start: systemd.syntax(7), systemd.exec(5)
and systemd.service(5)."""

import re
import shlex
from pathlib import Path


class Unit:
    def __init__(self, path):
        self.sections = {}
        section = None
        for line in Path(path).read_text().splitlines():
            if not line.strip() or line[0] in "#;":
                continue
            if heading := re.fullmatch(r"\[(\w+)\]", line):
                section = self.sections.setdefault(heading[1], [])
            elif setting := re.fullmatch(r"([A-Z]\w+)=(.*[^\\])", line):
                section.append((setting[1], setting[2]))
            else:
                raise ValueError(f"{path}: {line}")

    def values(self, section, name):
        return [value for key, value in self.sections[section] if key == name]

    def value(self, section, name):
        """The only one; None where there is none."""
        values = self.values(section, name)
        if len(values) > 1:
            raise ValueError(f"{name} stands more than once")
        return values[0] if values else None

    def environment(self, file=""):
        """What EnvironmentFile says goes before what Environment says."""
        lines = [*self.values("Service", "Environment"), *file.splitlines()]
        return dict(line.split("=", 1) for line in lines if line and line[0] not in "#;")

    def command(self, name, variables):
        """Its words: ${NAME} is one of them, or a part of one, also where it is empty."""
        return [re.sub(r"\$\{(\w+)\}", lambda found: variables.get(found[1], ""), word)
                for word in shlex.split(self.value("Service", name))]
