"""Two mounts and a training over one cache that holds a part of what they read. Usage: shared_cache_test.py ATOLL [unittest's
options]"""

import os
import pathlib
import random
import signal
import subprocess
import sys
import threading

import mounting
from mounting import ATOLL

MIB = 1 << 20
CACHE_BYTES = 16 * MIB
LARGE, LARGE_BYTES = 24, 1_500_000
# A process writes so many blocks at a time.
WRITTEN_AT_ONCE_BYTES = 4 * MIB
STEPS = 4


def is_stopped(pid):
    states = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:  # a thread that has ended
            pass
    return all(state in "TtZX" for state in states)


class SharedCache(mounting.Mounting):
    def setUp(self):
        super().setUp()
        self.environment["ATOLL_CACHE_SIZE"] = str(CACHE_BYTES)
        self.other = self.folder / "other"
        self.other.mkdir()
        self.addCleanup(subprocess.run, ["umount", "-l", self.other], capture_output=True)
        self.wrong = []

    def program(self, *words, **variables):
        return subprocess.Popen([ATOLL, *map(str, words)], env={**self.environment, **variables}, cwd=self.folder,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run_program(self, *words, **variables):
        with self.program(*words, **variables) as program:
            said, _ = program.communicate(timeout=250)
        self.assertEqual(program.returncode, 0, (words, said))

    def train(self, name, **variables):
        return self.program("train", "--preset", "tiny", "--data", f"{self.uri}/coco", "--out", self.folder / name,
                            "--steps", STEPS, "--seed", 5, **variables)

    def read_all(self, point, seed, training):
        """Whole files and pieces of them, at least twice each and until the training has ended."""
        order = random.Random(seed)
        try:
            rounds = 0
            while rounds < 2 or training.poll() is None:
                for number in order.sample(range(LARGE), LARGE):
                    content = self.contents[number]
                    with open(point / f"large/{number}", "rb", buffering=0) as file:
                        # Past the kernel's cache of the mount: the cache on disk is to be asked each time.
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                        offset = order.choice([0, 0, order.randrange(LARGE_BYTES)])
                        file.seek(offset)
                        found = b""
                        while piece := file.read(MIB):
                            found += piece
                    if found != content[offset:]:
                        raise AssertionError(f"{point}/large/{number} from {offset} on: {len(found)} bytes, not the right ones")
                rounds += 1
        except Exception as error:  # of a thread
            self.wrong.append(repr(error))

    def disk_bytes(self):
        total = 0
        for path in (self.folder / "cache/blocks").glob("*/*"):
            try:
                total += path.stat().st_blocks * 512
            except OSError:  # it has gone
                pass
        return total

    def disk_bytes_at_a_moment(self, pids):
        """While it is counted these bring and remove nothing."""
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            for pid in pids:
                self.wait_until("a stopped process", lambda: is_stopped(pid))
            return self.disk_bytes()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def test_two_mounts_and_a_training_over_a_full_cache_read_right_and_keep_its_bound(self):
        self.contents = [random.Random(number).randbytes(LARGE_BYTES) for number in range(LARGE)]
        for number, content in enumerate(self.contents):
            self.bucket.put(f"large/{number}", content)
        self.run_program("synth", "--out", f"{self.uri}/coco", "--images", 24, "--val-images", 4, "--size", 96, "--seed", 3)
        with self.train("alone", ATOLL_CACHE_DIR=str(self.folder / "cache-alone")) as alone:
            said, _ = alone.communicate(timeout=250)
        self.assertEqual(alone.returncode, 0, said)

        self.mount("--read-only")
        self.atoll("mount", self.uri, self.other, "--read-only", "--state", self.folder / "other-state")
        daemons = self.daemons()
        self.assertEqual(len(daemons), 2)
        with self.train("shared") as training:
            readers = [threading.Thread(target=self.read_all, args=(point, seed, training), daemon=True)
                       for seed, point in enumerate((self.point, self.other, self.point, self.other))]
            for reader in readers:
                reader.start()
            most = 0
            while any(reader.is_alive() for reader in readers):
                most = max(most, self.disk_bytes_at_a_moment(daemons))
                readers[0].join(0.2)
            said, _ = training.communicate(timeout=250)
        print(f"at most {most / MIB:.1f} MiB on the disk for a bound of {CACHE_BYTES // MIB}", file=sys.stderr)
        self.assertEqual(self.wrong, [])
        self.assertEqual(training.returncode, 0, said)
        self.assertLessEqual(most, CACHE_BYTES + 3 * WRITTEN_AT_ONCE_BYTES)
        # It was full, and is not too full now.
        self.assertGreater(most, CACHE_BYTES - 4 * MIB)
        self.assertLessEqual(self.disk_bytes(), CACHE_BYTES)
        self.assertEqual((self.folder / "shared/model.safetensors").read_bytes(),
                         (self.folder / "alone/model.safetensors").read_bytes())
        self.assertEqual(list((self.folder / "cache/leases").iterdir()), [])


if __name__ == "__main__":
    mounting.main()
