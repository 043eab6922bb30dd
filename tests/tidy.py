"""clang-tidy over the sources, several at a time, skipping what has not changed since it was last clean.

A file's stamp is a hash of clang-tidy's version and configuration, the file's compile command, and the
file with every header of ours that it includes, directly or not. System packages and LibTorch are
pinned by ./run, so their headers do not count.

Usage: tidy.py --build BUILD_FOLDER [--jobs N] [FILES]
"""

import argparse
import concurrent.futures
import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
FOLDERS = ("src", "tests", "bench", "fuzz")


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
    in code that the analyzer does not enter, and the time is needed for the other checks, which walk LibTorch's
    headers each time.
    """
    return not is_test(path) and path.parent.name != "cli" and "/torch/include" not in compile_command


def is_test(path):
    return path.stem.endswith("_test")


def lint(path, compile_command, build):
    start = time.monotonic()
    # The compile commands are gcc's, pragmas included.
    command = ["clang-tidy", "-p", str(build), "--quiet", "--extra-arg=-Wno-unknown-pragmas"]
    if not is_analyzed(path, compile_command):
        command.append("--checks=-clang-analyzer-*")
    result = subprocess.run([*command, str(path)], capture_output=True, text=True)
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

    tool = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True, text=True).stdout
    stamps_file = build / "clean.json"
    clean = json.loads(stamps_file.read_text()) if stamps_file.is_file() else {}
    wanted = {path: stamp(path, commands[path], tool, root) for path in files}
    dirty = [path for path in files if clean.get(str(path.relative_to(root))) != wanted[path]]
    print(f"{len(files)} files, {len(files) - len(dirty)} of them unchanged since they were clean", flush=True)

    failed = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(lint, path, commands[path], build): path for path in dirty}
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
