"""deploy/atoll-fs@.service against systemd, where that is installed, against the program that it starts and against what
the README says of it.

  python unit_test.py ATOLL

tests/fs starts, kills and stops it for real.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from environment import DEPLOY, ROOT
from unit import Unit

NAME = "atoll-fs@.service"
PROGRAM = "/usr/local/bin/atoll"
README = (DEPLOY / "README.md").read_text()


def recipe():
    """The README's lines below "As a service"."""
    section = README.split("## As a service\n")[1].split("\n## ")[0]
    return "".join(line[4:] for line in section.splitlines(keepends=True) if line.startswith("    "))


class Service(unittest.TestCase):
    def setUp(self):
        self.unit = Unit(DEPLOY / NAME)
        self.folder = Path(tempfile.mkdtemp(prefix="atoll-unit-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_systemd_understands_every_line(self):
        # What it starts must be there; an instance must have a name.
        (self.folder / NAME).write_text((DEPLOY / NAME).read_text().replace(PROGRAM, str(ATOLL)))
        result = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", self.folder / NAME.replace("@", "@coco")],
            capture_output=True, text=True, timeout=60)
        self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""))

    def test_it_has_the_parts_of_a_service_that_starts_at_boot(self):
        self.assertEqual(self.unit.sections.keys(), {"Unit", "Service", "Install"})
        self.assertEqual(self.unit.value("Install", "WantedBy"), "multi-user.target")
        self.assertEqual(self.unit.value("Unit", "Wants"), self.unit.value("Unit", "After"))
        self.assertEqual(self.unit.value("Service", "Restart"), "on-failure")

    def test_every_option_is_one_of_the_programs(self):
        program, *words = self.unit.command("ExecStart", {})
        self.assertEqual(program, PROGRAM)
        self.assertEqual(words[:2], ["fs", "mount"])
        help_text = subprocess.run([ATOLL, *words[:2], "--help"], capture_output=True, text=True, timeout=60).stdout
        known = {flag for line in re.findall(r"^  (-\S+)", help_text, re.M) for flag in line.split(",")}
        options = [word for word in words if word.startswith("-")]
        self.assertIn("--foreground", options)
        self.assertEqual(set(options) - known, set())

    def test_stopping_it_is_the_signal_that_unmounts_and_there_is_time_for_it(self):
        # SIGTERM is systemd's default; an ExecStop would go before it.
        for name in ("ExecStop", "KillSignal", "KillMode", "SendSIGKILL"):
            self.assertIsNone(self.unit.value("Service", name), name)
        self.assertGreater(int(self.unit.value("Service", "TimeoutStopSec")), 60)

    def test_what_the_readme_says_makes_a_mount_that_the_program_takes(self):
        etc, systemd = self.folder / "atoll", self.folder / "systemd"
        systemd.mkdir()
        script = recipe()
        self.assertEqual(script.count(f"deploy/{NAME} /etc/systemd/system/"), 1)
        script = script.replace("/etc/systemd/system/", f"{systemd}/").replace("/etc/atoll", str(etc))
        script = script.replace("systemctl enable --now", "echo")
        result = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT)
        self.assertEqual((result.returncode, result.stdout), (0, "atoll-fs@coco\n"), result.stderr)
        self.assertTrue((systemd / NAME).is_file())
        file = self.unit.value("Service", "EnvironmentFile").replace("%i", "coco")
        self.assertEqual(file, "/etc/atoll/coco.env")
        variables = self.unit.environment((etc / "coco.env").read_text())
        _, *words = self.unit.command("ExecStart", variables)
        self.assertEqual(words[-2:], ["s3://bucket/coco", "/mnt/coco"])
        # -f: all but the mounting.
        for options in (words, [word.replace("allow_other", "no_such_option") for word in words]):
            result = subprocess.run([ATOLL, *options[:2], "-f", *options[2:-1], self.folder], env={**variables, "PATH": "/usr/bin:/bin"},
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual(result.returncode, 0 if options is words else 2, result.stderr)

    def test_the_documentation_names_it(self):
        self.assertIn(f"[{NAME}](#as-a-service)", README)
        self.assertIn("[deploy/](../deploy/README.md)", (ROOT / "docs/file-system.md").read_text())


if __name__ == "__main__":
    ATOLL = Path(sys.argv[1]).resolve()
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
