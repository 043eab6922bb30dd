"""A mount whose server is a minute away, and longer than the client goes on trying. Usage: outage_test.py ATOLL FAULT_PROXY
[unittest's options]"""

import errno
import pathlib
import sys
import threading
import time

import mounting
from mounting import SERVER

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "s3_server"))

from s3_world import FaultProxy  # noqa: E402

PROXY = sys.argv.pop(2)
OUTAGE_S = 60
DEADLINE_S = 120  # RetryOptions of src/storage/s3/retry.h
LAST_TRY_S = 60  # S3ClientOptions
FILES = 5


class Outage(mounting.Mounting):
    def setUp(self):
        super().setUp()
        self.contents = [bytes([65 + number]) * 3_000_000 for number in range(FILES)]
        for number, content in enumerate(self.contents):
            self.bucket.put(f"{number}", content)
        self.proxy = FaultProxy(PROXY, SERVER["port"])
        self.addCleanup(self.proxy.close)
        self.environment["AWS_ENDPOINT_URL"] = self.proxy.url
        self.mount("--log", self.folder / "mount.log", "--import-interval", "0", "--max-age", "3600")
        self.assertEqual(len(list(self.point.iterdir())), FILES)

    def read_all(self):
        """What each of so many readers at once has got, and after how long."""
        found = [None] * FILES

        def read(number):
            begun = time.monotonic()
            try:
                got = (self.point / f"{number}").read_bytes()
            except OSError as error:
                got = error.errno
            found[number] = got, time.monotonic() - begun

        readers = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(FILES)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(3 * (DEADLINE_S + LAST_TRY_S))
        return found

    def test_readers_go_on_after_a_minute_without_the_server(self):
        self.proxy.ask(f"unplug?ms={OUTAGE_S * 1000}")
        for number, (content, seconds) in enumerate(self.read_all()):
            self.assertEqual(content, self.contents[number])
            self.assertGreater(seconds, OUTAGE_S - 5)
            self.assertLess(seconds, DEADLINE_S)

    def test_readers_get_EIO_past_the_deadline_and_the_log_says_why(self):
        self.proxy.ask(f"unplug?ms={3_600_000}")
        for content, seconds in self.read_all():
            self.assertEqual(content, errno.EIO)
            self.assertGreater(seconds, DEADLINE_S - 20)
            # Not once more for the kernel, which asks again for a page whose read-ahead has failed.
            self.assertLess(seconds, 1.8 * DEADLINE_S)
            print(f"EIO after {seconds:.0f} s", file=sys.stderr)
        log = (self.folder / "mount.log").read_text()
        self.assertRegex(log, rf"GET s3://{self.bucket.name}/\d.*\(tried \d+ times in 1\d\d\.\d s\)")
        self.proxy.ask("unplug?ms=0")
        self.wait_until("the content", lambda: [content for content, _ in self.read_all()] == self.contents)


if __name__ == "__main__":
    mounting.main()
