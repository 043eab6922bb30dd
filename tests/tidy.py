"""clang-tidy over the sources, several at a time, skipping what has not changed since it was last clean.

A file's stamp is a hash of clang-tidy's version and configuration, the file's compile command, and the
file with every header of ours that it includes, directly or not. System packages and LibTorch are
pinned by ./run, so their headers do not count.

A plug-in keeps the checks out of other people's headers, and LibTorch's are read once, as a precompiled header:
walking and parsing these took most of the time. Both are made in the build folder.

Usage: tidy.py --build BUILD_FOLDER [--jobs N] [FILES]
"""

import argparse
import concurrent.futures
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
FOLDERS = ("src", "tests", "bench", "fuzz")
HERE = Path(__file__).parent
TORCH = "/torch/include"


def closure(path, include_folder, seen=None):
    """The file and our headers below it, each once."""
    seen = {} if seen is None else seen
    if path not in seen and path.is_file():
        text = seen[path] = path.read_text()
        for name in INCLUDE.findall(text):
            closure(path.parent / name, include_folder, seen)
            closure(include_folder / name, include_folder, seen)
    return seen


def stamp(path, command, tool, root):
    digest = hashlib.sha256()
    for part in (tool, (root / ".clang-tidy").read_text(), command):
        digest.update(part.encode() + b"\0")
    for file, text in sorted(closure(path, root / "src").items()):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + text.encode() + b"\0")
    return digest.hexdigest()


def is_analyzed(path, compile_command):
    """Whether clang's path-sensitive analyzer looks at the file too, which more than doubles the time.

    GoogleTest's macros and CLI11's templates make too many paths. In torch's rooms the memory is tensors', counted
    in code that the analyzer does not enter.
    """
    return not is_test(path) and path.parent.name != "cli" and TORCH not in compile_command


def is_test(path):
    return path.stem.endswith("_test")


def make(target, sources, command):
    """By the command, where the target is older than one of the sources."""
    if target.is_file() and all(target.stat().st_mtime > source.stat().st_mtime for source in sources):
        return target
    print(f"making {target.name}", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_suffix(".new")
    result = subprocess.run([*command, "-o", str(new)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"lint: {target.name} cannot be made:\n{result.stderr[-2000:]}")
    new.replace(target)
    return target


class Tool:
    """clang-tidy with its plug-in and the precompiled header, for the compile commands of one build folder."""

    def __init__(self, build, commands):
        self.build = build
        llvm = Path(shutil.which("clang-tidy") or sys.exit("lint: there is no clang-tidy")).resolve().parent.parent
        scope = HERE / "tidy_scope.cpp"
        # As clang itself is compiled: C++17 or what its version needs, without run-time types.
        flags = ["-std=c++17", "-shared", "-fPIC", "-fno-rtti", "-O1", "-isystem", str(llvm / "include")]
        self.scope = make(build / "tidy/scope.so", [scope, llvm / "bin/clang-tidy"], ["g++", *flags, str(scope)])
        self.torch = None
        torch = next((command for _, command in sorted(commands.items()) if reads_header(command)), None)
        if torch:
            header = HERE / "tidy_torch.h"
            command = [str(llvm / "bin/clang++"), "-x", "c++-header", *compile_flags(torch), "-w", str(header)]
            self.torch = make(build / "tidy/torch.pch", [header, llvm / "bin/clang++"], command)

    def check_that_it_finds(self):
        """A plug-in that hid everything would look like clean code."""
        planted = self.build / "tidy/planted.cpp"
        planted.write_text("namespace atl {\nint BadName(int x) { return x; }\n}  // namespace atl\n")
        command = ["clang-tidy", "-load", str(self.scope), "--checks=atoll-scope", str(planted), "--", "-std=c++20"]
        result = subprocess.run(command, capture_output=True, text=True)
        if "readability-identifier-naming" not in result.stdout:
            sys.exit(f"lint: clang-tidy does not find a planted bad name:\n{result.stdout}{result.stderr}")

    def command(self, path, compile_command):
        checks = "atoll-scope" + ("" if is_analyzed(path, compile_command) else ",-clang-analyzer-*")
        # The compile commands are gcc's, pragmas included.
        command = ["clang-tidy", "-load", str(self.scope), "-p", str(self.build), "--quiet"]
        command += [f"--checks={checks}", "--extra-arg=-Wno-unknown-pragmas"]
        if reads_header(compile_command):
            command += ["--extra-arg=-include-pch", f"--extra-arg={self.torch}"]
        return [*command, str(path)]


def reads_header(compile_command):
    """Whether LibTorch's precompiled header fits: the few files of programs are compiled with -fPIE instead."""
    return TORCH in compile_command and "-fPIC" in compile_command.split()


def compile_flags(compile_command):
    """What says how a file is read, without its name, its object and the compiler's warnings."""
    words = shlex.split(compile_command)[1:]
    flags = []
    while words:
        word = words.pop(0)
        if word in ("-o", "-c"):
            words.pop(0)
        elif not word.startswith("-W"):
            flags.append(word)
    return flags


def lint(path, compile_command, tool):
    start = time.monotonic()
    result = subprocess.run(tool.command(path, compile_command), capture_output=True, text=True)
    # Standard error holds only counts of suppressed warnings, unless something went wrong.
    output = result.stdout + (result.stderr if result.returncode else "")
    return result.returncode == 0, output, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    root, build = options.root.resolve(), options.build.resolve()

    commands = {
        Path(entry["directory"], entry["file"]).resolve(): entry["command"]
        for entry in json.loads((build / "compile_commands.json").read_text())
    }
    if options.files:
        files = [path.resolve() for path in options.files]
        unknown = [str(path) for path in files if path not in commands]
        if unknown:
            sys.exit(f"lint: no compile command for {', '.join(unknown)}; is it a .cpp of this tree?")
    else:
        # Tests are half of the time and ship to nobody; they compile with all warnings as errors. Named, they are
        # looked at like any other.
        ours = (path for path in commands if any(root / folder in path.parents for folder in FOLDERS))
        files = sorted(path for path in ours if not is_test(path))

    version = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True, text=True).stdout
    stamps_file = build / "clean.json"
    clean = json.loads(stamps_file.read_text()) if stamps_file.is_file() else {}
    wanted = {path: stamp(path, commands[path], version, root) for path in files}
    dirty = [path for path in files if clean.get(str(path.relative_to(root))) != wanted[path]]
    print(f"{len(files)} files, {len(files) - len(dirty)} of them unchanged since they were clean", flush=True)

    tool = Tool(build, commands) if dirty else None
    if tool:
        tool.check_that_it_finds()
    failed = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(lint, path, commands[path], tool): path for path in dirty}
        for done, future in enumerate(concurrent.futures.as_completed(running), 1):
            path = running[future]
            name = str(path.relative_to(root))
            ok, output, seconds = future.result()
            print(f"[{done}/{len(dirty)}] {name} {seconds:.0f} s" + ("" if ok else "\n" + output), flush=True)
            if ok:
                clean[name] = wanted[path]
                stamps_file.write_text(json.dumps(clean, indent=0))
            else:
                failed.append(name)
    if failed:
        sys.exit(f"lint: {len(failed)} files are not clean: {' '.join(sorted(failed))}")
    print("lint: clean")


if __name__ == "__main__":
    main()
