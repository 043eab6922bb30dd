"""`./run bench storage`: the S3 layer against its peers and its yardsticks, on one server, in one run.

The server is a real one, Ceph radosgw with its data in memory, behind the fault proxy, which adds latency where a case
asks for it and counts the bytes and requests of all alike. The contenders of a case take turns, A B C A B C; each
comes with an empty cache unless the case is about a full one, and each must have read the same bytes. One line of JSON for each
case: medians, the median of the rounds' ratios, and what the server has served.

  sequential   one object from begin to end: bare libcurl, also keeping what it gets in a file, the library, and as a file
               on the mounts; without latency, and 20 ms away
  nginx        the same by bare libcurl and by the S3 client, from a server that only sends: what is left when that costs nothing
  warm         a file that is in the cache against the same file on the local disk: from the disk, and from the kernel's memory
  random       reads of 128 KiB at random places, 20 ms away
  copy         10,000 objects of 100 KB copied out, 20 ms away
  list         `ls -lR` of 100,000 objects against the LIST calls themselves, 20 ms away and without
  first_step   `atoll train` on 1,000 images, on 100,000, and on as many with an index beside the annotations, 20 ms away: the
               time to its first step
  train        the trainer's loader on cold objects, 20 ms away, against local files; a step takes 50 ms
  shared       eight processes read the same 2 GB over one cache: how often the server sent each byte
  memory       resident memory of the mount while 1,000 of its files are open and read

A client beside its server slows the server down by whatever it does besides waiting. With --apart each has processors of its
own, as on two machines.

Sizes are the defaults times --scale. rclone and s3fs are Debian's, s3torchconnector PyPI's.
"""

import argparse
import json
import os
from pathlib import Path

import storage_cases
import storage_training
from s3_world import World  # isort: skip: storage_cases has put its folder on the path

HERE = Path(__file__).parent
CASES = ("sequential", "nginx", "warm", "random", "copy", "list", "first_step", "train", "shared", "memory")


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="all unless named")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes and numbers of objects")
    parser.add_argument("--rounds", type=int, default=3, help="for the short cases")
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--without", action="append", default=[], help="leave a contender out")
    parser.add_argument("--apart", action="store_true", help="half of the processors for the server, half for its clients")
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    options = parser.parse_args()
    everyone = sorted(os.sched_getaffinity(0))
    servers = clients = everyone
    if options.apart:
        half = len(everyone) // 2
        if half == 0:
            parser.error("--apart wants two processors")
        servers, clients = everyone[:half], everyone[half:]
    os.sched_setaffinity(0, servers)  # of what is started from here on
    with World(options.build, Path(options.build) / "bench-data/storage") as world:
        os.sched_setaffinity(0, clients)
        for name in options.cases or CASES:
            case = getattr(storage_cases, name, None) or getattr(storage_training, name)
            result = case(world, options)
            print(json.dumps(rounded({"bench": "storage", "case": name, **result})), flush=True)
            world.clear()


if __name__ == "__main__":
    main()
