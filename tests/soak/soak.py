"""The soak: a mount under fire. Random operations, checked against trees in memory, while the network fails in every way
that the fault proxy knows, the daemon is killed and started again, credentials are replaced and the disk fills up.

    soak.py --build build/release [--seconds 600] [--seed N] [--keep]
    soak.py --build build/release --brief

What must hold all the time: no wrong byte, no lost closed file, no hang. At the end everything is exported and the bucket
itself is held against the trees. Counts of operations and faults are printed; the seed repeats the choices,
though not the moments. --brief has everything happen once, in an order of the seed, and goes on until every fault has been
met: some 20 s. Exit code 77 where there is no S3 server or no FUSE.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "s3_server"))
from bucket_reader import ChangingReader, ColdReader  # noqa: E402
from credentials import RotatingKeys  # noqa: E402
from gate import Gate  # noqa: E402
from s3_world import Atoll, World, run  # noqa: E402
from small_disk import SmallDisk  # noqa: E402
from tree_worker import TreeWorker, WrongAnswer  # noqa: E402

BUCKET = "soak"
# Per mille of the requests. Together about one request in twelve fails at least once.
FAULTS = {
    "http_503": 20,
    "http_500": 10,
    "reset_before": 5,
    "reset_after": 5,
    "reset": 10,
    "truncate": 10,
    "stall": 3,
    "stall_ms": 15_000,
    "trickle": 3,
    "wrong_etag": 5,
    "latency_ms": 5,
}
DISK_MB = 256
TREES, READERS = 3, 2


@dataclasses.dataclass
class Pace:
    faults: dict
    unplug_ms: tuple
    refuse_ms: tuple
    full_disk_s: float
    pause_s: tuple


USUAL = Pace(FAULTS, unplug_ms=(2000, 12000), refuse_ms=(500, 4000), full_disk_s=4, pause_s=(1, 6))
# What is slow here is not so slow that it is given up: that takes ten seconds each time.
BRIEF = Pace(
    {name: 2 * rate for name, rate in FAULTS.items()} | {"stall_ms": 1500, "trickle_bytes_per_s": 400_000, "latency_ms": 2},
    unplug_ms=(1500,),
    refuse_ms=(500,),
    full_disk_s=1,
    pause_s=(0.3, 0.8),
)
LONGEST_WAIT_s = 60
KINDS = [name for name in FAULTS if not name.endswith("_ms")]


class Soak:
    def __init__(self, world, options):
        self.world, self.options = world, options
        self.pace = BRIEF if options.brief else USUAL
        self.random = random.Random(options.seed)
        self.gate = Gate()
        self.events = {}
        self.failures = []
        self.workers = []
        self.refused_until = 0  # time.monotonic()

    def begin(self):
        world = self.world
        world.raw("make", BUCKET, url=world.server_url)
        self.disk = SmallDisk(world.folder / "disk", DISK_MB)
        self.keys = RotatingKeys(world)
        self.cold = ColdReader.fill(world, BUCKET)
        self.changing = ChangingReader.fill(world, BUCKET)
        self.mount = SoakMount(world, self.disk.path, self.keys)
        self.mount.__enter__()
        world.proxy.set(seed=self.options.seed, **self.pace.faults)
        root = self.mount.path
        self.trees = [TreeWorker(f"{root}/tree-{i}", self.options.seed * 10 + i, self.gate) for i in range(TREES)]
        self.workers = [
            *self.trees,
            *(ColdReader(root, self.cold, self.options.seed + 100 + i, self.gate) for i in range(READERS)),
            ChangingReader(root, self.changing, self.gate),
        ]
        self.threads = [threading.Thread(target=self.work, args=(worker,), daemon=True) for worker in self.workers]
        for thread in self.threads:
            thread.start()

    def work(self, worker):
        try:
            with self.gate.operation(worker):
                worker.begin()
            epoch = self.gate.epoch
            while not self.gate.ending:
                with self.gate.operation(worker):
                    if epoch != self.gate.epoch and worker in self.trees:
                        epoch = self.gate.epoch
                        self.check_after_restart(worker)
                    else:
                        worker.step()
        except Exception as failure:  # whatever it is, it ends the soak
            self.failures.append(failure if isinstance(failure, WrongAnswer) else repr(failure))
            self.gate.end()

    def check_after_restart(self, worker):
        try:
            worker.touched = ()
            worker.check_everything()
        except OSError as error:
            worker.after_failure("check_everything", error)

    # ---- what happens to them -------------------------------------------------------------------

    def kill(self):
        """SIGKILL in the middle of whatever it is doing; then the same command mounts again, over the dead mount."""
        self.gate.close()
        self.mount.process.kill()
        self.mount.process.wait()
        self.gate.drain()
        # A mount begins with a question to the bucket, and ends at once where nobody takes its connection.
        time.sleep(max(0, self.refused_until - time.monotonic()))
        self.mount.__enter__()
        self.gate.open()

    def unplug(self):
        self.world.proxy.ask(f"unplug?ms={self.random.choice(self.pace.unplug_ms)}")

    def refuse(self):
        ms = self.random.choice(self.pace.refuse_ms)
        self.world.proxy.ask(f"refuse?ms={ms}")
        self.refused_until = time.monotonic() + ms / 1000

    def fill_disk(self):
        with self.gate.full_disk(), self.disk.full():
            self.pause(self.pace.full_disk_s)

    def rotate_keys(self):
        self.keys.rotate()

    def release(self):
        """What is exported leaves the disk, so that reading it is a matter of the bucket again."""
        self.fs("release", self.mount.path)

    def fs(self, *words):
        """A command that a restart of the daemon cannot reach: kill() is called by this thread, too."""
        result = subprocess.run(
            [str(word) for word in (self.world.atoll, "fs", *words)],
            capture_output=True,
            text=True,
            timeout=180,
            env=self.mount.environment(),
        )
        if result.returncode != 0:
            raise WrongAnswer(f"atoll fs {words[0]} failed: {result.stderr.strip()}")

    def pause(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.gate.ending:
            self.gate.check_for_hangs()
            time.sleep(0.1)

    def go_on(self):
        events = [
            (self.kill, 5),
            (self.unplug, 2),
            (self.refuse, 2),
            (self.fill_disk, 2),
            (self.rotate_keys, 3),
            (self.release, 4),
            (self.changing.change, 6),
        ]
        if self.options.brief:
            once = [event for event, _ in events]
            self.random.shuffle(once)
            for event in once:
                self.go_through(event)
            self.meet_every_fault()
            return
        until = time.monotonic() + self.options.seconds
        while time.monotonic() < until and not self.gate.ending:
            self.go_through(self.random.choices(*zip(*events))[0])

    def go_through(self, event):
        if self.gate.ending:
            return
        self.keys.renew()
        self.pause(self.random.uniform(*self.pace.pause_s))
        event()
        self.events[event.__name__] = self.events.get(event.__name__, 0) + 1

    def meet_every_fault(self):
        until = time.monotonic() + LONGEST_WAIT_s
        while missing := [name for name in KINDS if not self.world.proxy.ask("counts")["faults"].get(name)]:
            if self.gate.ending:
                return
            if time.monotonic() > until:
                raise WrongAnswer(f"{', '.join(missing)} did not happen to any request")
            self.keys.renew()
            self.release()
            self.pause(0.3)

    def end(self):
        """Everything exported, and the bucket held against the trees."""
        self.gate.end()
        for thread in self.threads:
            thread.join(180)
            if thread.is_alive():
                raise WrongAnswer("HANG: a worker does not come back")
        if self.failures:
            return
        self.keys.renew()
        self.fs("export", self.mount.path)
        for tree in self.trees:
            self.keys.renew()
            tree.check_everything()
        self.keys.renew()
        self.mount.__exit__()
        self.check_bucket()

    def check_bucket(self):
        folder = self.world.fresh("bucket")
        self.world.raw("fetch", BUCKET, "tree-", folder, url=self.world.server_url)
        found = json.loads((folder / "keys.json").read_text())
        for tree in self.trees:
            name = os.path.basename(tree.root) + "/"
            for path, data in tree.tree.files.items():
                file = found.pop(name + path, None)
                if file is None:
                    raise WrongAnswer(f"LOST: {name}{path} is not in the bucket")
                tree.expect((folder / file).read_bytes(), bytes(data), f"{name}{path} in the bucket")
            for path in tree.tree.links:
                found.pop(name + path, None)
        more = sorted(key for key in found if not key.endswith("/"))
        if more:
            raise WrongAnswer(f"the bucket holds files that nobody has: {more}")

    def keep_evidence(self, folder):
        """What the bucket holds and what each tree has gone through, before everything ends."""
        keys = self.world.raw("keys", BUCKET, "tree-", url=self.world.server_url)["keys"]
        (folder / "bucket.txt").write_text("".join(f"{key}\n" for key in keys))
        for tree in self.trees:
            (folder / f"{os.path.basename(tree.root)}.txt").write_text("".join(f"{line}\n" for line in tree.history))
            (folder / f"{os.path.basename(tree.root)}-files.txt").write_text(
                "".join(f"{path}\n" for path in sorted(tree.tree.files))
            )
        with contextlib.suppress(OSError):
            shutil.copytree(self.disk.path, folder / "state", symlinks=True, dirs_exist_ok=True)

    def report(self):
        operations = {}
        for worker in self.workers:
            for name, count in worker.counts.items():
                operations[name] = operations.get(name, 0) + count
        counts = self.world.proxy.counts()
        print(json.dumps({"operations": dict(sorted(operations.items())), "events": self.events}))
        print(json.dumps({"requests": counts["requests"], "faults": counts["faults"]}))


class SoakMount(Atoll):
    """Its journal is on the small disk, its cache is smaller than what is read, and its credentials change."""

    def __init__(self, world, disk, keys):
        super().__init__(world, BUCKET)
        self.keys = keys
        self.state = disk / "state"
        self.options = ["--cache-size", "32M"]

    def environment(self):
        return self.keys.environment(self.world.environment())


def fuse_is_there():
    return os.access("/dev/fuse", os.R_OK | os.W_OK) and shutil.which("fusermount3")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--brief", action="store_true", help="everything once instead of --seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--keep", action="store_true", help="the folder with all logs, also where nothing went wrong")
    options = parser.parse_args()
    if not fuse_is_there():
        print("no soak here: /dev/fuse or fusermount3 is missing")
        sys.exit(77)
    print(f"seed {options.seed}, {'brief' if options.brief else f'{options.seconds:g} s'}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="atoll-soak-"))
    with World(options.build, folder / "world") as world:
        soak = Soak(world, options)
        try:
            soak.begin()
            soak.go_on()
            soak.end()
        except WrongAnswer as failure:
            soak.failures.append(failure)
        finally:
            soak.gate.end()
            if soak.failures:
                soak.keep_evidence(folder)
            soak.mount.__exit__()
            soak.report()
            soak.disk.close()
    for failure in soak.failures:
        print(f"FAILED: {failure}")
    if soak.failures or options.keep:
        print(f"everything is in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(1 if soak.failures else 0)


if __name__ == "__main__":
    main()
