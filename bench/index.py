"""`./run bench index`: reading annotations of train2017's size, against simdjson's bare parse of the same text.

Makes a COCO JSON (118,287 images, 860,001 annotations, ~450 MB; once, in build/bench-data), then in turn: simdjson's
DOM parse with its best kernel, our text -> arrays with as many threads (1) and with all, our JSON file -> index file, and
opening the index. Each program parses three times and gives its fastest; the figures are medians of the turns,
the ratios medians of the turns' ratios with their range. `resident_to_index`: the whole process after every
annotation was read once, in relation to the index file. One JSON line.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    program = f"{options.build}/bench/index_bench"
    folder = Path(options.build) / "bench-data" / "index"
    folder.mkdir(parents=True, exist_ok=True)
    annotations, index = str(folder / "train.json"), str(folder / "train.json.atoll-index")

    def run(*arguments):
        return json.loads(subprocess.run([program, *arguments], check=True, capture_output=True).stdout)

    if not Path(annotations).exists():
        run("generate", annotations + ".part")
        os.rename(annotations + ".part", annotations)
    turns = []
    for _ in range(options.turns):
        turns.append(
            {
                "simdjson": run("simdjson", annotations),
                "one": run("parse", annotations, "1"),
                "all": run("parse", annotations, str(options.threads)),
                "write": run("write", annotations, str(options.threads), index),
                "open": min((run("open", index) for _ in range(3)), key=lambda found: found["open_ms"]),
            }
        )

    def median(name, key, digits=3):
        return round(statistics.median(turn[name][key] for turn in turns), digits)

    def ratio(name):
        ratios = [turn[name]["fastest_s"] / turn["simdjson"]["fastest_s"] for turn in turns]
        return round(statistics.median(ratios), 2), [round(min(ratios), 2), round(max(ratios), 2)]

    last = turns[-1]
    print(
        json.dumps(
            {
                "bench": "index",
                "json_bytes": os.path.getsize(annotations),
                "annotations": last["one"]["annotations"],
                "simdjson_kernel": last["simdjson"]["kernel"],
                "atoll_kernel": last["one"]["kernel"],
                "simdjson_1_thread_s": median("simdjson", "fastest_s"),
                "atoll_1_thread_s": median("one", "fastest_s"),
                f"atoll_{options.threads}_threads_s": median("all", "fastest_s"),
                "ratio_1_thread": ratio("one")[0],
                "ratio_1_thread_range": ratio("one")[1],
                f"ratio_{options.threads}_threads": ratio("all")[0],
                f"ratio_{options.threads}_threads_range": ratio("all")[1],
                "json_to_index_read_s": median("write", "read_s"),
                "json_to_index_write_s": median("write", "write_s"),
                "index_bytes": last["open"]["index_bytes"],
                "open_ms": median("open", "open_ms", 1),
                "resident_to_index": round(last["open"]["resident_bytes"] / last["open"]["index_bytes"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
