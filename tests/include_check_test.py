"""Plants one violation of each kind into a small tree and expects include_check to name it, and nothing else."""

import tempfile
import unittest
from pathlib import Path

import include_check

CMAKE = """
# atoll_room(ghost) in a comment declares nothing
atoll_room(base)
atoll_room(trace LIBRARIES nlohmann_json::nlohmann_json)
atoll_room(storage)
atoll_room(dataset ROOMS storage
           LIBRARIES simdjson::simdjson)
if(ATOLL_WITH_TORCH)
  atoll_room(ops TORCH TEST_ROOMS dataset)
endif()
"""


class IncludeCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("src/CMakeLists.txt", CMAKE)
        self.write("src/dataset/coco.cpp", '#include <vector>\n#include "base/error.h"\n#include "storage/storage.h"\n')

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def violations(self):
        return list(include_check.check_tree(self.root))

    def expect_one(self, place, words):
        found = self.violations()
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(place), found[0])
        self.assertIn(words, found[0])

    def test_a_tree_that_follows_the_rules_has_no_violations(self):
        self.write("src/ops/nms.cpp", "#include <ATen/ATen.h>\n")
        self.write("src/ops/nms_test.cpp", '#include "dataset/rle.h"\n')
        self.write("src/cli/main.cpp", '#include "ops/ops.h"\n#include "dataset/coco.h"\n')
        self.assertEqual(self.violations(), [])

    def test_an_arrow_that_is_not_declared(self):
        self.write("src/storage/store.cpp", '\n#include "dataset/coco.h"\n')
        self.expect_one("src/storage/store.cpp:2:", "no arrow to dataset")

    def test_base_may_not_include_trace(self):
        self.write("src/base/error.cpp", '#include "trace/trace.h"\n')
        self.expect_one("src/base/error.cpp:1:", "no arrow to trace")

    def test_an_arrow_for_tests_is_none_for_the_library(self):
        self.write("src/ops/nms.cpp", '#include "dataset/rle.h"\n')
        self.expect_one("src/ops/nms.cpp:1:", "no arrow to dataset")

    def test_torch_outside_the_torch_rooms(self):
        for header in ("torch/library.h", "ATen/ATen.h", "c10/util/Half.h"):
            self.write("src/dataset/tensor.h", f"#include <{header}>\n")
            self.expect_one("src/dataset/tensor.h:1:", "may know torch")

    def test_torch_in_the_command_line(self):
        self.write("src/cli/main.cpp", "#include <torch/library.h>\n")
        self.expect_one("src/cli/main.cpp:1:", "may know torch")

    def test_a_room_may_not_declare_itself_torch(self):
        self.write("src/CMakeLists.txt", CMAKE + "atoll_room(eval TORCH)\n")
        self.expect_one("src/CMakeLists.txt:", "eval is declared TORCH")

    def test_a_room_that_is_not_declared(self):
        self.write("src/ghost/x.cpp", "\n")
        self.expect_one("src/ghost/x.cpp:1:", "declares no room ghost")

    def test_a_header_that_names_no_room(self):
        self.write("src/dataset/x.cpp", '#include "rle.h"\n')
        self.expect_one("src/dataset/x.cpp:1:", "no header of a room")

    def test_a_parent_folder_in_an_include(self):
        self.write("src/dataset/x.cpp", '#include "../storage/storage.h"\n')
        self.expect_one("src/dataset/x.cpp:1:", "no header of a room")

    def test_the_environment_outside_job(self):
        self.write("src/storage/store.cpp", 'auto a = std::getenv("SM_HOSTS");\n')
        self.expect_one("src/storage/store.cpp:1:", "SM_HOSTS")

    def test_the_environment_by_other_names(self):
        self.write("src/storage/store.cpp", "extern char** environ;\n")
        self.expect_one("src/storage/store.cpp:1:", "environ")
        self.write("src/storage/store.cpp", "auto a = secure_getenv(name);\n")
        self.expect_one("src/storage/store.cpp:1:", "a variable")

    def test_a_test_may_read_our_own_variables_only(self):
        self.write("src/storage/store_test.cpp", 'getenv("ATOLL_REAL_DATA");\ngetenv("RANK");\n')
        self.expect_one("src/storage/store_test.cpp:2:", "RANK")

    def test_comments_are_not_code(self):
        self.write("src/storage/store.cpp", '// getenv("RANK") belongs to job\nauto u = "http://x";\n')
        self.assertEqual(self.violations(), [])

    def test_a_condition_on_cuda(self):
        for condition in ("#ifdef USE_CUDA", "#if defined(__CUDACC__)", "  # ifndef ATOLL_CUDA"):
            self.write("src/ops/nms.cpp", f"{condition}\n#endif\n")
            self.expect_one("src/ops/nms.cpp:1:", "condition on CUDA")

    def test_a_file_that_is_too_long(self):
        self.write("src/dataset/big.h", "\n" * 301)
        self.expect_one("src/dataset/big.h:300:", "301 lines")
        self.write("src/dataset/big.h", "\n" * 300)
        self.assertEqual(self.violations(), [])
        self.assertEqual(len(list(include_check.long_files(self.root))), 1)

    def test_a_path_of_a_machine(self):
        for path in ("/wor" + "k/main", "/roo" + "t/.cache", "/hom" + "e/ann/coco", "/far" + "m"):
            self.write("docs/notes.md", f"\nsee {path}\n")
            self.expect_one("docs/notes.md:2:", "somebody's machine")

    def test_relative_paths_and_addresses_are_no_machine_paths(self):
        self.write("docs/notes.md", "https://host.example/wor" + "k and a/roo" + "t/x and ./wor" + "k\n")
        self.assertEqual(self.violations(), [])


if __name__ == "__main__":
    unittest.main()
