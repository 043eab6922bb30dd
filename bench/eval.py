"""`./run bench eval`: Atoll's coco-eval against the fastest evaluators there are, same files, same run.

Files of val2017's size (eval_data.cpp): 5,000 images, 36,000 ground truths, 500,000 detections with masks, 200 MB of
results; bbox and segm, loading included, one process a run. The programs take turns, ultrafast-pycocotools right after
Atoll each time, so that both see the same machine; hotcoco every second turn. One JSON line: medians, the median of the
pairs' ratios with its range, CPU seconds, peak memory, and whether the 24 numbers are the same doubles.

`*_s`: for Atoll the whole process; for the Python peers from the end of their imports on, which flatters them
(`*_process_s` has the imports in it). With --full pycocotools runs, too (minutes), and its 24 numbers and all precision,
recall and score arrays are held against Atoll's, bit for bit; and the same once more without categories (useCats = 0),
untimed, under `without_categories`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ARRAYS = [f"{kind}_{name}.f64" for kind in ("bbox", "segm") for name in ("precision", "recall", "scores")]


def run_process(command):
    """Wall and CPU seconds, peak memory, standard output."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}: {errors.decode().strip()}")
    return {
        "process_seconds": time.perf_counter() - begin,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
        "out": out,
    }


class Atoll:
    def __init__(self, options, folder, arguments=()):
        self.out = folder / "atoll.json"
        self.command = [f"{options.build}/bin/atoll", "coco-eval", "--strict-pycocotools", "--json", str(self.out)]
        self.command += ["--gt", str(folder / "gt.json"), "--dt", str(folder / "dt.json"), *arguments]

    def run(self):
        run = run_process(self.command)
        run["seconds"] = run["process_seconds"]
        run["stats"] = {kind: result["stats"] for kind, result in json.loads(self.out.read_text()).items()}
        return run


class Peer:
    def __init__(self, name, folder, arrays=None, arguments=()):
        self.command = [sys.executable, str(HERE / "eval_peer.py"), name]
        self.command += [str(folder / "gt.json"), str(folder / "dt.json"), *arguments]
        if arrays:
            self.command += ["--arrays", str(arrays)]

    def run(self):
        run = run_process(self.command)
        return run | json.loads(run["out"])


def median_of(runs, key, digits=3):
    return round(statistics.median(run[key] for run in runs), digits)


def make_data(options, folder):
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [f"{options.build}/bench/eval_data", str(folder), str(options.images)], check=True, capture_output=True
        )
        (folder / "complete").write_bytes(made.stdout)
    for name in ("gt.json", "dt.json"):  # into the page cache
        (folder / name).read_bytes()


def different_arrays(options, folder, peer_arrays, arguments=()):
    ours = folder / "atoll-arrays"
    ours.mkdir(exist_ok=True)
    files = [str(folder / "gt.json"), str(folder / "dt.json"), str(ours)]
    subprocess.run([f"{options.build}/bench/eval_arrays", *files, *arguments], check=True)
    return [
        name
        for name in ARRAYS
        # +0.0: pycocotools has a -0 here and there, equal as a number.
        if (np.fromfile(ours / name) + 0.0).tobytes() != (np.fromfile(peer_arrays / name) + 0.0).tobytes()
    ]


def without_categories(options, folder):
    """The comparison with pycocotools where objects of all categories are one."""
    arguments = ["--no-categories"]
    arrays = folder / "pycocotools-arrays-without-categories"
    arrays.mkdir(exist_ok=True)
    theirs = Peer("pycocotools", folder, arrays, arguments).run()
    return {
        "same_numbers": theirs["stats"] == Atoll(options, folder, arguments).run()["stats"],
        "different_arrays": different_arrays(options, folder, arrays, arguments),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--full", action="store_true", help="run pycocotools, too, and compare all arrays with it")
    options = parser.parse_args()
    folder = Path(options.build).parent / "bench-data" / f"eval-{options.images}"
    make_data(options, folder)

    atoll, ultrafast, hotcoco = Atoll(options, folder), Peer("ultrafast", folder), Peer("hotcoco", folder)
    runs = {"atoll": [], "ultrafast": [], "hotcoco": []}
    for pair in range(options.pairs):
        runs["atoll"].append(atoll.run())
        runs["ultrafast"].append(ultrafast.run())
        if pair % 2 == 0:
            runs["hotcoco"].append(hotcoco.run())
    if options.full:
        arrays = folder / "pycocotools-arrays"
        arrays.mkdir(exist_ok=True)
        runs["pycocotools"] = [Peer("pycocotools", folder, arrays).run()]

    line = {
        "bench": "eval",
        "images": options.images,
        "results_mb": round((folder / "dt.json").stat().st_size / 1e6),
        "cpus": len(os.sched_getaffinity(0)),
        "pairs": options.pairs,
    }
    for name, list_of_runs in runs.items():
        line[f"{name}_s"] = median_of(list_of_runs, "seconds")
        if name != "atoll":
            line[f"{name}_process_s"] = median_of(list_of_runs, "process_seconds")
        line[f"{name}_cpu_s"] = median_of(list_of_runs, "cpu_seconds")
        line[f"{name}_peak_mb"] = median_of(list_of_runs, "peak_mb", 0)
    ratios = [ours["seconds"] / theirs["seconds"] for ours, theirs in zip(runs["atoll"], runs["ultrafast"])]
    line["ratio_to_ultrafast"] = round(statistics.median(ratios), 3)
    line["ratio_range"] = [round(min(ratios), 3), round(max(ratios), 3)]
    line["same_numbers"] = {
        name: runs[name][0]["stats"] == runs["atoll"][0]["stats"] for name in runs if name != "atoll"
    }
    if options.full:
        line["times_pycocotools"] = round(line["pycocotools_s"] / line["atoll_s"], 1)
        line["different_arrays"] = different_arrays(options, folder, arrays)
        line["without_categories"] = without_categories(options, folder)
    print(json.dumps(line))
    same = all(line["same_numbers"].values()) and not line.get("different_arrays")
    if options.full:
        without = line["without_categories"]
        same = same and without["same_numbers"] and not without["different_arrays"]
    if not same:
        sys.exit("the numbers differ")


if __name__ == "__main__":
    main()
