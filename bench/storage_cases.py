"""The cases of bench/storage.py. Each makes its objects, lets its contenders take turns and gives one dictionary."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from storage_nginx import Nginx
from storage_peers import Rclone, S3fs, rclone_config
from storage_turns import BUCKET, MB, Turns

from s3_world import Atoll, run  # isort: skip: storage_peers has put its folder on the path

HERE = Path(__file__).parent
MIB = 1 << 20
CONNECTIONS = 8


def mounts(turns):
    return [kind for kind in (Atoll, Rclone, S3fs) if turns.wants(kind.name)]


def sequential(world, options):
    """On the server's own machine, where client and server share the processor, and as far away as a bucket is."""
    size = int(1000 * MB * options.scale)
    world.fill(BUCKET, "sequential", 1, size)
    results = {}
    for latency in (0, options.latency_ms):
        world.proxy.set(latency_ms=latency)
        results[f"latency_{latency:g}_ms"] = read_in_order(world, options, "sequential/000/000000.bin", size)
    world.proxy.set(latency_ms=0)
    return {"mb": size / MB, "connections": CONNECTIONS, **results}


def read_in_order(world, options, key, size):
    turns = Turns(world, options)
    for _ in range(options.rounds):
        with turns.turn("libcurl"):
            turns.took(world.raw("get", BUCKET, key, 8 * MIB, CONNECTIONS, size)["seconds"])
        with turns.turn("libcurl_to_file"):
            file = world.fresh("file") / "file"
            turns.took(world.raw("get", BUCKET, key, 8 * MIB, CONNECTIONS, size, file)["seconds"])
        for how in ("client", "library"):
            if turns.wants(how):
                with turns.turn(how):
                    turns.took(library(world, how, BUCKET, key, MIB)["seconds"])
        for kind in mounts(turns):
            with turns.turn(kind.name), kind(world, BUCKET) as mount:
                answer = world.read("sequential", mount.path / key, MIB)
                turns.took(answer["seconds"], answer["check"])
    return turns.result(
        client_of_libcurl=("client", "libcurl"),
        library_of_libcurl=("library", "libcurl"),
        library_of_libcurl_to_file=("library", "libcurl_to_file"),
        mount_of_libcurl=("atoll", "libcurl"),
        mount_of_libcurl_to_file=("atoll", "libcurl_to_file"),
        mount_of_rclone=("atoll", "rclone"),
        mount_of_s3fs=("atoll", "s3fs"),
    )


def library(world, how, *words, url=None):
    """A pass by bench/storage_bench, without or with the cache, which is empty."""
    cache = world.fresh("cache-library")
    return json.loads(run([world.storage_bench, how, "--cache", cache, *words], env=world.environment(url)))


def nginx(world, options):
    """What is left of a server that costs next to nothing. It knows no LIST, so the cache stays out of it."""
    size, key = int(1000 * MB * options.scale), "object"
    turns = Turns(world, options)
    with Nginx(world.fresh("nginx")) as server:
        (server.files / BUCKET).mkdir()
        file = server.files / BUCKET / key
        with open(file, "wb") as out:
            for begin in range(0, size, MB):
                out.write(os.urandom(min(MB, size - begin)))
        for _ in range(options.rounds):
            with turns.turn("libcurl"):
                turns.took(world.raw("get", BUCKET, key, 8 * MIB, CONNECTIONS, size, url=server.url)["seconds"])
            with turns.turn("client"):
                turns.took(library(world, "client", BUCKET, key, MIB, url=server.url)["seconds"])
    result = turns.result(client_of_libcurl=("client", "libcurl"))
    for counted_by_the_proxy in ("served_mb", "requests"):
        del result[counted_by_the_proxy]
    return {"mb": size / MB, "connections": CONNECTIONS, **result}


def warm(world, options):
    """A file that the cache holds whole and the same file on the local disk: read from the disk, by a mount that is new, and
    once more, when the kernel remembers both."""
    size = int(1000 * MB * options.scale)
    world.fill(BUCKET, "warm", 1, size)
    key = "warm/000/000000.bin"
    world.proxy.set(latency_ms=0)
    local = world.fresh("local") / "file"
    turns = Turns(world, options)
    with Atoll(world, BUCKET) as mount:
        shutil.copyfile(mount.path / key, local)
    for _ in range(options.rounds):
        drop_from_memory(local)
        read_twice(world, turns, local, "local_disk", "local_memory")
        with Atoll(world, BUCKET, keep_cache=True) as mount:
            drop_from_memory(mount.cache)
            read_twice(world, turns, mount.path / key, "mount_disk", "mount_memory")
    local.unlink()
    return {
        "mb": size / MB,
        **turns.result(
            mount_of_local_disk=("mount_disk", "local_disk"), mount_of_local_memory=("mount_memory", "local_memory")
        ),
    }


def read_twice(world, turns, path, *names):
    for name in names:
        with turns.turn(name):
            answer = world.read("sequential", path, MIB)
            turns.took(answer["seconds"], answer["check"])


def drop_from_memory(path):
    """Of a file, or of all below a folder: what the kernel remembers of their contents."""
    for file in [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def random(world, options):
    size, count = int(2000 * MB * max(options.scale, 0.1)), max(32, int(256 * options.scale))
    world.fill(BUCKET, "random", 1, size)
    key = "random/000/000000.bin"
    world.proxy.set(latency_ms=options.latency_ms)
    results = {}
    for threads in (1, 8, 32):
        turns = Turns(world, options)
        for seed in range(options.rounds):
            turns.checks.clear()
            for kind in mounts(turns):
                with turns.turn(kind.name), kind(world, BUCKET) as mount:
                    answer = world.read("random", mount.path / key, 128 << 10, count, seed, threads)
                    turns.took(answer["seconds"], answer["check"])
        results[f"threads_{threads}"] = turns.result(of_s3fs=("atoll", "s3fs"), of_rclone=("atoll", "rclone"))
    world.proxy.set(latency_ms=0)
    return {"reads": count, "kib": 128, "object_mb": size / MB, "latency_ms": options.latency_ms, **results}


def copy(world, options):
    """`copied out`: every object becomes a local file; `read`: every object's bytes are held once, by as many workers."""
    count, size, workers = int(10_000 * options.scale), 100_000, 8
    world.fill(BUCKET, "copy", count, size, 100)
    world.proxy.set(latency_ms=options.latency_ms)
    turns = Turns(world, options)
    if turns.wants("rclone"):
        with turns.turn("rclone"):
            turns.took(timed(["rclone", "--config", rclone_config(world), "copy", f"s3:{BUCKET}/copy", world.fresh("out")], world))
    if turns.wants("atoll"):
        with turns.turn("atoll"), Atoll(world, BUCKET, "copy") as mount:
            turns.took(timed(["cp", "-r", mount.path, world.fresh("out")], world))
        with turns.turn("preload"), Atoll(world, BUCKET, "copy") as mount:
            command = f'"{world.atoll}" fs preload "{mount.path}" && cp -r "{mount.path}" "{world.fresh("out")}"'
            turns.took(timed(["sh", "-c", command], world))
    if turns.wants("s3torchconnector"):
        with turns.turn("s3torchconnector"):
            peer = [sys.executable, HERE / "s3torch_peer.py", f"s3://{BUCKET}/copy", workers]
            turns.took(json.loads(run(peer, env=world.environment()))["seconds"])
    if turns.wants("library"):
        with turns.turn("library"):
            turns.took(library(world, "objects", "--workers", workers, BUCKET, "copy")["seconds"])
    world.fresh("out")
    world.proxy.set(latency_ms=0)
    return {
        "objects": count,
        "kb": size / 1000,
        "workers": workers,
        "latency_ms": options.latency_ms,
        **turns.result(
            cp_of_rclone=("atoll", "rclone"),
            preload_and_cp_of_rclone=("preload", "rclone"),
            reads_of_s3torchconnector=("library", "s3torchconnector"),
        ),
    }


def timed(command, world):
    begin = time.perf_counter()
    run(command, env=world.environment())
    return time.perf_counter() - begin


def many(world, options):
    """The bucket of many small objects, made once."""
    count = int(100_000 * options.scale)
    if not getattr(world, "has_many", False):
        world.fill("many", "many", count, 100, 100)
        world.has_many = True
    return count


def list(world, options):  # noqa: A001: the case's name
    count = many(world, options)
    results = {}
    for latency in (options.latency_ms, 0):
        world.proxy.set(latency_ms=latency)
        turns = Turns(world, options)
        for _ in range(options.rounds):
            with turns.turn("list_calls"):
                turns.took(world.raw("list", "many", "many/")["seconds"])
            if turns.wants("atoll"):
                with Atoll(world, "many") as mount:
                    for name in ("first", "second"):
                        with turns.turn(name):
                            begin = time.perf_counter()
                            lines = run(["ls", "-lR", mount.path]).count(".bin\n")
                            turns.took(time.perf_counter() - begin)
                            if lines != count:
                                raise SystemExit(f"ls -lR shows {lines} of {count} objects")
        results[f"latency_{latency:g}_ms"] = turns.result(first_of_list_calls=("first", "list_calls"))
    return {"objects": count, **results}


def shared(world, options):
    size, processes = int(2000 * MB * options.scale), 8
    objects = 20
    world.fill(BUCKET, "shared", objects, size // objects)
    world.proxy.set(latency_ms=0)
    turns = Turns(world, options)
    with turns.turn("eight"):
        cache = world.fresh("cache-shared")
        begin = time.perf_counter()
        command = [world.storage_bench, "objects", "--cache", cache, "--workers", 2, BUCKET, "shared"]
        started = [
            subprocess.Popen(map(str, command), stdout=subprocess.PIPE, env=world.environment()) for _ in range(processes)
        ]
        answers = [json.loads(process.communicate()[0]) for process in started]
        turns.took(time.perf_counter() - begin)
    read = [answer["bytes"] for answer in answers]
    if set(read) != {size // objects * objects}:
        raise SystemExit(f"not every process has read everything: {read}")
    result = turns.result()
    return {"processes": processes, "mb": size / MB, "times_served": result["served_mb"]["eight"] / (size / MB), **result}


def memory(world, options):
    files = max(10, int(1000 * options.scale))
    world.fill(BUCKET, "memory", files, 2 * MB, 10)
    world.proxy.set(latency_ms=0)
    result = {"files": files}
    with Atoll(world, BUCKET, "memory") as mount:
        reader = subprocess.Popen(
            [str(world.file_reader), "hold", str(mount.path), str(files), str(128 << 10)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        peak = 0
        reader.stdout.readline()  # all are open
        until = time.monotonic() + 20 * max(0.2, options.scale)
        while time.monotonic() < until:
            peak = max(peak, mount.resident_bytes())
            time.sleep(0.05)
        reader.communicate()
        result["resident_mib"] = peak / MIB
    return result
