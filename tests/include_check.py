"""Holds the source tree against the architecture's absences. Usage: include_check.py [ROOT]

What may include what is read from the atoll_room() declarations of src/CMakeLists.txt, so there is one list.
Prints one line for each violation, path:line: what, and exits 1 when there are any.
"""

import re
import sys
from pathlib import Path

TORCH_ROOMS = {"ops", "model", "parallel", "train"}
EVERYWHERE = {"base", "trace"}
DISPATCHER = "cli"  # may include every room
MAY_READ_ENVIRONMENT = {"job", "cli"}
# (file, variable) -> why this one is no cluster's variable and belongs there.
ENVIRONMENT_EXCEPTIONS = {
    ("src/storage/s3/process_credentials.cpp", "environ"): "handed on whole to the program of credential_process",
    # Whose bucket it is and where the cache lies is the user's to say, as with every program that speaks to S3: AWS_*,
    # ATOLL_CACHE_DIR, ATOLL_CACHE_SIZE, ATOLL_LISTING_AGE, ATOLL_NO_SIGN_REQUEST, XDG_CACHE_HOME, HOME.
    ("src/storage/environment.cpp", "a variable"): "the user's AWS configuration and cache",
}

# Above the usual length a file is listed, to be split by what it knows; above the most it is a violation.
USUAL_LINES = {".cpp": 450, ".cu": 450, ".h": 200}
MOST_LINES = {".cpp": 600, ".cu": 600, ".h": 300}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
TORCH_HEADER = re.compile(r"^(torch|ATen|c10|caffe2)/")
GETENV = re.compile(r'\b(?:secure_)?getenv\s*\(\s*(?:"([^"]*)")?|\b(environ)\b')
CUDA_CONDITION = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b.*(?:CUDA|NVCC|HIPCC)")
# Folders of the machine that somebody worked on. The brackets keep the pattern from matching itself.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:wor[k]|far[m]|roo[t]|hom[e]/\w+)(?:/|\b)(?!\s*\()")
TEXT_SUFFIXES = {
    *(".cpp", ".h", ".cu", ".proto", ".py", ".cmake", ".txt", ".json", ".toml", ".md", ".sh", ".yml", ".yaml"),
    "",
}
SKIPPED_FOLDERS = {"build", "runs", "findings", "corpus", "__pycache__"}


class Rooms:
    """The atoll_room(NAME [TORCH] [ROOMS a b] [TEST_ROOMS c] ...) declarations."""

    def __init__(self, cmake_text):
        self.allowed, self.allowed_in_tests, self.torch = {}, {}, set()
        without_comments = re.sub(r"#.*", "", cmake_text)
        for call in re.findall(r"\batoll_room\(([^)]*)\)", without_comments):
            name, *words = call.split()
            lists = {"ROOMS": set(), "TEST_ROOMS": set(), "LIBRARIES": set()}
            current = None
            for word in words:
                if word == "TORCH":
                    self.torch.add(name)
                elif word in lists:
                    current = lists[word]
                else:
                    current.add(word)
            self.allowed[name] = {name} | EVERYWHERE | lists["ROOMS"]
            self.allowed_in_tests[name] = self.allowed[name] | lists["TEST_ROOMS"]
        if "base" in self.allowed:
            self.allowed["base"] = self.allowed_in_tests["base"] = {"base"}
        if "trace" in self.allowed:
            self.allowed["trace"] = self.allowed_in_tests["trace"] = {"trace", "base"}

    def may_include(self, room, other, is_test):
        if room == DISPATCHER:
            return True
        return other in (self.allowed_in_tests if is_test else self.allowed).get(room, set())


def strip_comment(line):
    """Without a // comment, unless the slashes stand in a string."""
    position = line.find("//")
    while position >= 0 and line[:position].count('"') % 2 == 1:
        position = line.find("//", position + 2)
    return line if position < 0 else line[:position]


def check_source(path, relative, room, rooms):
    is_test = path.stem.endswith("_test")
    known = set(rooms.allowed) | {DISPATCHER}
    lines = path.read_text().splitlines()
    for number, raw in enumerate(lines, 1):
        line = strip_comment(raw)
        place = f"{relative}:{number}"
        include = INCLUDE.match(raw)
        if include:
            header = include[2]
            if TORCH_HEADER.match(header) and room not in TORCH_ROOMS:
                yield f"{place}: {room} includes {header}, but only {', '.join(sorted(TORCH_ROOMS))} may know torch"
            elif include[1] == '"':
                other = header.split("/")[0]
                if "/" not in header or other not in known:
                    yield f'{place}: "{header}" is no header of a room; write "room/x.h", and <x.h> for others'
                elif not rooms.may_include(room, other, is_test):
                    yield f"{place}: {room} includes {header}, but src/CMakeLists.txt allows {room} no arrow to {other}"
        elif CUDA_CONDITION.match(line):
            yield f"{place}: a condition on CUDA; make it a dispatcher operator of the plug-in"
        for match in GETENV.finditer(line):
            variable = match[1] or match[2] or "a variable"
            fine = (
                room in MAY_READ_ENVIRONMENT
                or (is_test and variable.startswith("ATOLL_"))
                or (str(relative), variable) in ENVIRONMENT_EXCEPTIONS
            )
            if not fine:
                yield f"{place}: reads {variable} from the environment; only job does, and hands down options"
    most = MOST_LINES[path.suffix]
    if len(lines) > most:
        yield f"{relative}:{most}: {len(lines)} lines, more than {most}; split it by what it knows"


def text_files(root):
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if any(part in SKIPPED_FOLDERS or part.startswith((".venv", ".git")) for part in parts[:-1]):
            continue
        if path.suffix in TEXT_SUFFIXES and path.is_file() and not path.name.startswith(".git"):
            yield path


def check_machine_paths(root):
    for path in text_files(root):
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            match = MACHINE_PATH.search(line)
            if match:
                yield f"{path.relative_to(root)}:{number}: {match[0]} is a path of somebody's machine"


def source_files(root):
    return sorted(p for p in (root / "src").rglob("*") if p.suffix in MOST_LINES and p.is_file())


def check_tree(root):
    rooms = Rooms((root / "src/CMakeLists.txt").read_text())
    if not rooms.allowed:
        yield "src/CMakeLists.txt: declares no rooms"
    for room in sorted(rooms.torch - TORCH_ROOMS):
        yield f"src/CMakeLists.txt: {room} is declared TORCH, but only {', '.join(sorted(TORCH_ROOMS))} may be"
    for path in source_files(root):
        relative = path.relative_to(root)
        room = relative.parts[1]
        if room not in rooms.allowed and room != DISPATCHER:
            yield f"{relative}:1: src/CMakeLists.txt declares no room {room}"
            continue
        yield from check_source(path, relative, room, rooms)
    yield from check_machine_paths(root)


def long_files(root):
    for path in source_files(root):
        count = len(path.read_text().splitlines())
        if USUAL_LINES[path.suffix] < count <= MOST_LINES[path.suffix]:
            yield f"note: {path.relative_to(root)} has {count} lines; {USUAL_LINES[path.suffix]} are usual"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    for line in long_files(root):
        print(line)
    violations = list(check_tree(root))
    for line in violations:
        print(line)
    print(f"{len(source_files(root))} source files, {len(violations)} violations")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
