"""The soak's own eyes: random operations on a local directory are all as they must be, and what is spoilt behind a worker's
back is noticed."""

import errno
import os
import tempfile
import unittest
from contextlib import contextmanager

from tree_worker import TreeWorker, WrongAnswer


class QuietGate:
    def expects(self, error):
        return error.errno == errno.ENOTCONN

    def wait(self):
        pass


class TreeWorkerTest(unittest.TestCase):
    @contextmanager
    def worker(self, seed, steps=300):
        with tempfile.TemporaryDirectory() as folder:
            worker = TreeWorker(folder + "/tree", seed, QuietGate())
            worker.begin()
            for _ in range(steps):
                worker.step()
            yield worker

    def test_a_local_directory_passes(self):
        for seed in range(3):
            with self.worker(seed) as worker:
                worker.check_everything()
                for name in ("write_new", "overwrite", "rename_directory", "truncate", "change_mode"):
                    self.assertGreater(worker.counts.get(name, 0), 0, name)
                self.assertNotIn("failed", worker.counts)

    def spoilt(self, spoil):
        with self.worker(1) as worker:
            path = max(worker.tree.files, key=lambda name: len(worker.tree.files[name]))
            spoil(worker, path)
            with self.assertRaises(WrongAnswer) as caught:
                worker.check_everything()
            return str(caught.exception)

    def test_a_wrong_byte_is_noticed(self):
        def spoil(worker, path):
            with open(worker.path(path), "r+b") as file:
                file.seek(10)
                byte = file.read(1)
                file.seek(10)
                file.write(bytes([byte[0] ^ 1]))

        self.assertIn("WRONG BYTES", self.spoilt(spoil))
        self.assertIn("the first difference at 10", self.spoilt(spoil))

    def test_a_lost_file_is_noticed(self):
        self.assertIn("lacks", self.spoilt(lambda worker, path: os.unlink(worker.path(path))))

    def test_a_file_too_many_is_noticed(self):
        self.assertIn("besides", self.spoilt(lambda worker, path: open(worker.path("more"), "w").close()))

    def test_a_file_cut_short_is_noticed(self):
        self.assertIn("bytes, not", self.spoilt(lambda worker, path: os.truncate(worker.path(path), 3)))

    def cut_off(self, happened):
        """A rename of a file that fails; `happened` says whether it was done all the same."""
        with self.worker(1) as worker:
            old, new = worker.any_file(), "new name"
            worker.touched = (old, new)
            if happened:
                os.rename(worker.path(old), worker.path(new))
            worker.after_failure("rename_file", OSError(errno.ENOTCONN, "cut off"))
            worker.check_everything()
            return new in worker.tree.files

    def test_a_rename_that_was_cut_off_may_have_happened_or_not(self):
        self.assertTrue(self.cut_off(True))
        self.assertFalse(self.cut_off(False))

    def test_a_write_that_was_cut_off_may_have_left_anything(self):
        with self.worker(1) as worker:
            path = worker.any_file()
            worker.touched = (path,)
            with open(worker.path(path), "wb") as file:
                file.write(b"half of")
            worker.after_failure("write_new", OSError(errno.ENOTCONN, "cut off"))
            worker.check_everything()
            self.assertNotIn(path, worker.tree.files)

    def test_an_error_without_a_cause_is_a_failure(self):
        with self.worker(1) as worker, self.assertRaises(WrongAnswer):
            worker.after_failure("write_new", OSError(errno.EIO, "broken"))


if __name__ == "__main__":
    unittest.main()
