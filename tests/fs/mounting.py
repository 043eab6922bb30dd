"""What the tests of `atoll fs` on a server share. The first argument of the test names the program."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import s3_client

SKIPPED = 77
PATIENCE_S = 30
ATOLL = pathlib.Path(sys.argv[1]).resolve()
SERVER = s3_client.server()


class Mounting(unittest.TestCase):
    number = 0

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="atoll-mount-test-"))
        self.point = self.folder / "mnt"
        self.point.mkdir()
        Mounting.number += 1
        self.bucket = s3_client.Bucket(SERVER, f"mount-test-{os.getpid()}-{Mounting.number}")
        self.bucket.make()
        self.uri = f"s3://{self.bucket.name}"
        self.environment = {
            **s3_client.environment(SERVER, self.folder), "XDG_STATE_HOME": str(self.folder / "state")}

    def tearDown(self):
        for _ in range(3):
            subprocess.run(["umount", "-l", self.point], capture_output=True)
        for pid in self.daemons():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def daemons(self):
        """The processes that have this test's folder as their HOME."""
        found = []
        for process in pathlib.Path("/proc").iterdir():
            try:
                if process.name.isdigit() and f"HOME={self.folder}\0".encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
            except OSError:
                pass
        return found

    def atoll(self, *arguments, code=0, text=True):
        result = subprocess.run([ATOLL, "fs", *map(str, arguments)], env=self.environment, capture_output=True,
                                text=text, timeout=120, cwd=self.folder)
        self.assertEqual(result.returncode, code, (arguments, result.stdout, result.stderr))
        return result

    def mount(self, *options):
        return self.atoll("mount", self.uri, self.point, *options)

    def pid(self):
        (mount,) = json.loads(self.atoll("status", "--json").stdout)[-1:]
        self.assertEqual(mount["mount_point"], str(self.point))
        return mount["pid"]

    def wait_until(self, what, happened, seconds=PATIENCE_S):
        until = time.monotonic() + seconds
        while not happened():
            self.assertLess(time.monotonic(), until, f"{what} does not show")
            time.sleep(0.05)

    def wait_for_end(self, pid):
        descriptor = os.pidfd_open(pid)
        import select
        select.select([descriptor], [], [], 60)
        os.close(descriptor)


def main():
    if SERVER is None:
        print("skipped: there is no S3 server (see tests/s3_server)")
        sys.exit(SKIPPED)
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("skipped: FUSE cannot be used here, /dev/fuse is missing or not ours")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
