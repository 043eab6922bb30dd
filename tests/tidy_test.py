"""What makes tidy.py look at a file again, and how closely. clang-tidy itself is not run."""

import tempfile
import unittest
from pathlib import Path

import tidy


class Stamp(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "src/base").mkdir(parents=True)
        self.write(".clang-tidy", "Checks: '*'")
        self.write("src/base/error.h", "#pragma once\n")
        self.write("src/base/check.h", '#include "base/error.h"\n')
        self.write("src/base/other.h", '#include "base/other.h"\n')
        self.write("src/base/check.cpp", '#include <vector>\n#include "base/check.h"\n')

    def write(self, name, text):
        (self.root / name).write_text(text)

    def stamp(self, command="g++ -c", tool="14"):
        return tidy.stamp(self.root / "src/base/check.cpp", command, tool, self.root)

    def test_nothing_changed_nothing_to_do(self):
        before = self.stamp()
        self.write("src/base/other.h", "int unrelated;\n")
        self.assertEqual(self.stamp(), before)

    def test_each_of_these_changes_the_stamp(self):
        before = self.stamp()
        self.assertNotEqual(self.stamp(command="g++ -O3 -c"), before)
        self.assertNotEqual(self.stamp(tool="15"), before)
        for name in ("src/base/check.cpp", "src/base/check.h", "src/base/error.h", ".clang-tidy"):
            old = (self.root / name).read_text()
            self.write(name, old + "\n")
            self.assertNotEqual(self.stamp(), before, name)
            self.write(name, old)
            self.assertEqual(self.stamp(), before, name)

    def test_headers_that_include_each_other_end(self):
        self.assertEqual(len(tidy.closure(self.root / "src/base/other.h", self.root / "src")), 1)


class Flags(unittest.TestCase):
    def test_they_say_how_a_file_is_read(self):
        command = "/usr/bin/c++ -DA=1 -I/src -O3 -Wall -std=c++20 -o a.o -c /src/a.cpp"
        self.assertEqual(tidy.compile_flags(command), ["-DA=1", "-I/src", "-O3", "-std=c++20"])


class Analyzer(unittest.TestCase):
    def test_neither_tests_nor_the_command_line_nor_torch_rooms_are_analyzed(self):
        torch = "g++ -idirafter .venv/lib/python3.11/site-packages/torch/include -c"
        self.assertTrue(tidy.is_analyzed(Path("src/eval/match.cpp"), "g++ -c"))
        self.assertFalse(tidy.is_analyzed(Path("src/eval/match_test.cpp"), "g++ -c"))
        self.assertFalse(tidy.is_analyzed(Path("src/cli/data_command.cpp"), "g++ -c"))
        self.assertFalse(tidy.is_analyzed(Path("src/model/rpn.cpp"), torch))


if __name__ == "__main__":
    unittest.main()
