"""Between the workers of the soak and what is done to their mount: keeps operations away while nothing is mounted, knows
which errors may be seen when, and notices operations that do not come back."""

import contextlib
import errno
import threading
import time

from tree_worker import DEAD, FULL, WrongAnswer

# The client gives up an endpoint that does not answer after less; nothing may take longer.
LONGEST_OPERATION_s = 150
# Errors come out a moment after their cause has gone.
AFTERMATH_s = 20


class Gate:
    def __init__(self):
        self.condition = threading.Condition()
        self.is_open, self.ending = True, False
        self.epoch = 0  # counts the restarts
        self.begun = {}  # worker -> when its operation began
        self.threads = {}  # thread -> its worker
        self.dead_until = self.full_until = 0
        self.disk_is_full = False

    @contextlib.contextmanager
    def operation(self, worker):
        self.enter(worker)
        try:
            yield
        finally:
            with self.condition:
                self.begun.pop(worker, None)
                self.condition.notify_all()

    def enter(self, worker):
        with self.condition:
            self.condition.wait_for(lambda: self.is_open or self.ending)
            self.begun[worker] = time.monotonic()
            self.threads[threading.get_ident()] = worker

    def wait(self):
        """For a worker whose operation has failed: until the mount is there, and the disk not full."""
        with self.condition:
            worker = self.threads[threading.get_ident()]
            self.begun.pop(worker)
            self.condition.notify_all()
        until = time.monotonic() + AFTERMATH_s
        while self.disk_is_full and time.monotonic() < until and not self.ending:
            time.sleep(0.05)
        time.sleep(0.05)  # in the aftermath an operation is tried again and again
        self.enter(worker)

    def expects(self, error):
        now = time.monotonic()
        if error.errno in DEAD or error.errno == errno.EIO:
            return now < self.dead_until
        return error.errno in FULL and now < self.full_until

    def close(self):
        """The daemon is about to die."""
        with self.condition:
            self.is_open = False
            self.dead_until = float("inf")

    def drain(self):
        """Until every operation under way has failed or ended."""
        with self.condition:
            if not self.condition.wait_for(lambda: not self.begun, LONGEST_OPERATION_s):
                raise WrongAnswer(f"HANG: {len(self.begun)} operations did not end with the daemon")

    def open(self):
        with self.condition:
            self.is_open = True
            self.epoch += 1
            self.dead_until = time.monotonic() + 1
            self.condition.notify_all()

    @contextlib.contextmanager
    def full_disk(self):
        self.full_until = float("inf")
        self.disk_is_full = True
        try:
            yield
        finally:
            self.full_until = time.monotonic() + AFTERMATH_s
            self.disk_is_full = False

    def end(self):
        with self.condition:
            self.ending = True
            self.condition.notify_all()

    def check_for_hangs(self):
        with self.condition:
            now = time.monotonic()
            for worker, begun in self.begun.items():
                if now - begun > LONGEST_OPERATION_s:
                    raise WrongAnswer(f"HANG: an operation of {type(worker).__name__} takes {now - begun:.0f} s")
