"""`./run bench tfrecord`: TFRecords read from begin to end with every checksum checked, against `cat FILES > /dev/null`.

Before anything is timed, reference/tfrecord_check.py has another program read what we write, and write what we read: a
difference ends the bench. The files (1 GB of records of a COCO picture's size) are in the page cache, both are one process
on one core, and they take turns. `of_cat`: the share of cat's speed, the median of the pairs' ratios.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SHARDS, RECORDS, RECORD_BYTES = 8, 750, 165_000


def seconds(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def check(build):
    """How many images and objects came through alike."""
    script = HERE.parent / "reference/tfrecord_check.py"
    command = [sys.executable, str(script), "--atoll", f"{build}/bin/atoll"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{script} ended with {done.returncode}: nothing is timed")
    found = json.loads(done.stdout)
    return {"images": found["images"], "objects": found["objects"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    checked = check(options.build)
    program = f"{options.build}/bench/tfrecord_bench"
    folder = Path(options.build).parent / "bench-data" / "tfrecord"
    last = folder / f"bench-{SHARDS - 1:05}-of-{SHARDS:05}.tfrecord"
    if not last.exists():
        subprocess.run([program, "make", str(folder), *map(str, (SHARDS, RECORDS, RECORD_BYTES))], check=True)
    files = sorted(map(str, folder.glob("bench-*.tfrecord")))
    size = sum(Path(file).stat().st_size for file in files)
    ours, cat = [], []
    for warm in range(options.rounds + 1):
        pair = seconds([program, *files]), seconds(["cat", *files])
        if warm:
            ours.append(pair[0])
            cat.append(pair[1])
    ratios = [c / o for o, c in zip(ours, cat)]
    print(
        json.dumps(
            {
                "bench": "tfrecord",
                "of_cat": round(statistics.median(ratios), 3),
                "read_gb_per_s": round(size / statistics.median(ours) / 1e9, 2),
                "cat_gb_per_s": round(size / statistics.median(cat) / 1e9, 2),
                "gb": round(size / 1e9, 2),
                "records": SHARDS * RECORDS,
                "rounds": options.rounds,
                "checked": checked,
            }
        )
    )


if __name__ == "__main__":
    main()
