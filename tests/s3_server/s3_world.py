"""What bench/storage.py and the soak run against: an S3 server, the network before it, and the file systems that show
its buckets.

    with World(build, folder) as world:          # radosgw in memory, behind the fault proxy
        world.fill("bench", "big", 1, 10**9)
        world.proxy.set(latency_ms=20)
        with Atoll(world, "bench") as mount: ...
        world.proxy.counts()["response_bytes"]

Nothing here measures or tests anything.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
# A proxy of the machine's own, or certificates for it, are for other servers than ours; a cache is to be cold.
FOREIGN = {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AWS_CA_BUNDLE", "AWS_PROFILE", "ATOLL_CACHE_DIR"}


def run(command, **options):
    """Runs it to its end; an error says what it printed."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        what = " ".join(map(str, command))[:500]
        raise SystemExit(f"{what} ended with {result.returncode}:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout


def wait_for(what, condition, seconds=30):
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise SystemExit(f"{what}: nothing after {seconds} s")
        time.sleep(0.01)
    return value


def is_mounted(path):
    """Whether something is mounted there and alive. The attributes of a dead mount's root are remembered by the kernel; its
    size is not, and is asked for first: a dead mount may be cleaned away in between, and the folder beneath has a size."""
    try:
        return os.statvfs(path) is not None and os.path.ismount(path)
    except OSError:
        return False


class FaultProxy:
    """tests/fault_proxy between clients and the server."""

    def __init__(self, program, server_port, **settings):
        words = [f"{name}={value}" for name, value in settings.items()]
        self.process = subprocess.Popen(
            [str(program), "--to", f"127.0.0.1:{server_port}", *words], stdout=subprocess.PIPE, text=True
        )
        ports = json.loads(self.process.stdout.readline())
        self.port, self.control = ports["port"], ports["control"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path):
        with self.opener.open(f"http://127.0.0.1:{self.control}/{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def set(self, **settings):
        self.ask("set?" + "&".join(f"{name}={value}" for name, value in settings.items()))

    def reset(self):
        self.ask("reset")

    def counts(self):
        """When nothing is under way any more, so that all bytes are in it."""
        counts = self.ask("counts")
        for _ in range(100):
            if counts["under_way"] == 0:
                break
            time.sleep(0.01)
            counts = self.ask("counts")
        return counts

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class World:
    def __init__(self, build, folder, latency_ms=0):
        self.build, self.folder = Path(build), Path(folder)
        self.s3_raw = self.build / "bench/s3_raw"
        self.file_reader = self.build / "bench/file_reader"
        self.storage_bench = self.build / "bench/storage_bench"
        self.atoll = self.build / "bin/atoll"
        self.latency_ms = latency_ms
        self.away = 0

    def __enter__(self):
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        self.server_folder = self.folder / "server"
        started = subprocess.run(
            [HERE / "start.sh", self.server_folder], capture_output=True, text=True
        )
        if started.returncode != 0:
            print(started.stderr.strip(), file=sys.stderr)
            sys.exit(started.returncode)  # 77: there is no such server to be had
        server = json.loads((self.server_folder / "server.json").read_text())
        self.keys = server["access_key_id"], server["secret_access_key"]
        self.server_url = server["endpoint_url"]
        program = self.build / "tests/fault_proxy/fault_proxy"
        self.proxy = FaultProxy(program, server["port"], latency_ms=self.latency_ms)
        return self

    def __exit__(self, *_):
        self.proxy.close()
        run([HERE / "stop.sh", self.server_folder])

    def environment(self, url=None):
        """Through the proxy, where no other address is given."""
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        environment.update(
            AWS_ENDPOINT_URL=url or self.proxy.url,
            AWS_ACCESS_KEY_ID=self.keys[0],
            AWS_SECRET_ACCESS_KEY=self.keys[1],
            AWS_REGION="us-east-1",
            AWS_EC2_METADATA_DISABLED="true",
            HOME=str(self.folder),
        )
        return environment

    def server_admin(self, *words):
        """radosgw-admin, by the programs and with the configuration that the server runs from."""
        root = Path(run([HERE / "fetch.sh"]).strip())
        libraries = root / "usr/lib/x86_64-linux-gnu"
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{libraries}:{libraries}/ceph:{root}/lib/x86_64-linux-gnu",
            "CEPH_CONF": str(self.server_folder / "ceph.conf"),
        }
        return run([root / "usr/bin/radosgw-admin", *words], env=environment)

    def raw(self, *words, url=None):
        return json.loads(run([self.s3_raw, *words], env=self.environment(url)))

    def fill(self, bucket, prefix, count, size, folders=1):
        """Past the proxy."""
        self.raw("make", bucket, url=self.server_url)
        return self.raw("fill", bucket, prefix, count, size, folders, url=self.server_url)

    def read(self, *words):
        return json.loads(run([self.file_reader, *words]))

    def fresh(self, name):
        """An empty folder. What it held stays beside it until clear(): ext4 makes files slowly for minutes after many have
        been removed."""
        folder = self.folder / name
        self.put_away(folder)
        folder.mkdir(parents=True)
        return folder

    def put_away(self, folder):
        if folder.exists():
            self.away += 1
            folder.rename(self.folder / f"away-{self.away}")

    def clear(self):
        for folder in self.folder.glob("away-*"):
            shutil.rmtree(folder)

    def served_bytes(self):
        return sum(self.proxy.counts()["response_bytes"].values())


class Mount(contextlib.AbstractContextManager):
    """A bucket, or what lies below a prefix of it, as a file system at `path`: always a fresh one, its cache empty
    unless `keep_cache`."""

    name = None

    def __init__(self, world, bucket, prefix="", keep_cache=False, options=()):
        self.world, self.bucket, self.prefix = world, bucket, prefix
        self.options = options
        self.path = world.folder / f"mount-{self.name}"
        self.cache = world.folder / f"cache-{self.name}"
        self.log = world.folder / f"{self.name}.log"
        if not keep_cache:
            world.put_away(self.cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(exist_ok=True)

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
            )

        def mounted():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended at once; its log: {self.log}\n{self.log.read_text()[-2000:]}")
            return is_mounted(self.path)

        wait_for(f"mounting {self.name}", mounted)
        return self

    def __exit__(self, *_):
        subprocess.run(["fusermount3", "-u", str(self.path)], capture_output=True)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            subprocess.run(["fusermount3", "-uz", str(self.path)], capture_output=True)

    def command(self):
        raise NotImplementedError

    def environment(self):
        return self.world.environment()

    def resident_bytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


class Atoll(Mount):
    """`atoll fs mount`, its journal beside its cache."""

    name = "atoll"
    state = None  # else the journal's folder

    def command(self):
        uri = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        folders = ["--cache-dir", self.cache / "blocks", "--state", self.state or self.cache / "state"]
        return [self.world.atoll, "fs", "mount", uri, self.path, "--foreground", *folders, *self.options]

    def fs(self, *words, **options):
        return run([self.world.atoll, "fs", *words], env=self.environment(), **options)
