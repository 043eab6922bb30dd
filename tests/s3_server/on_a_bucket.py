"""What the tests of the program on a bucket share. The first argument of the test names the program."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "fs"))

import s3_client  # noqa: E402

SKIPPED = 77
ATOLL = pathlib.Path(sys.argv[1]).resolve()
SERVER = s3_client.server()


class OnABucket(unittest.TestCase):
    """All tests of a class share a bucket, a cache and a working folder."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="atoll-commands-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.bucket = s3_client.Bucket(SERVER, f"commands-{cls.__name__.lower()}-{os.getpid()}")
        cls.bucket.make()
        cls.uri = f"s3://{cls.bucket.name}"
        cls.environment = s3_client.environment(SERVER, cls.folder)

    @classmethod
    def run_atoll(cls, *arguments, **variables):
        return subprocess.run([ATOLL, *map(str, arguments)], env={**cls.environment, **variables},
                              capture_output=True, text=True, timeout=250, cwd=cls.folder)

    def atoll(self, *arguments, code=0, **variables):
        result = self.run_atoll(*arguments, **variables)
        self.assertEqual(result.returncode, code, (arguments, result.stdout, result.stderr))
        return result

    def json_at(self, key):
        content = self.bucket.get(key)
        self.assertIsNotNone(content, f"{key} is not in the bucket: {self.bucket.keys()}")
        return json.loads(content)


def main():
    if SERVER is None:
        print("there is no S3 server here; see the output of s3_server_starts")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
