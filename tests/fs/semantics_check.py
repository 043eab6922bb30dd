"""Every statement of docs/file-system.md has a number of its own and names a test that exists."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| S(\d+) \| (.+) \| `(\w+)` \|$", re.M)


def main():
    rows = ROW.findall((ROOT / "docs/file-system.md").read_text())
    sources = [path.read_text() for folder in ("src", "tests") for path in (ROOT / folder).rglob("*")
               if path.suffix in (".cpp", ".py") and path.name != Path(__file__).name]
    problems = []
    if [int(number) for number, _, _ in rows] != list(range(1, len(rows) + 1)):
        problems.append("the numbers are not 1, 2, 3, …")
    for number, _, test in rows:
        defined = re.compile(rf"TEST(_F|_P)?\(\s*\w+,\s*{test}\s*\)|def {test}\(")
        if not any(defined.search(source) for source in sources):
            problems.append(f"S{number}: there is no test {test}")
    print("\n".join(problems) or f"{len(rows)} statements, each with a test")
    sys.exit(1 if problems or not rows else 0)


if __name__ == "__main__":
    main()
