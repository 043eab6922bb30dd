"""`./run bench startup`: how long a user waits before anything happens.

`help_ms`: `atoll --help`, start to end. `train_first_step_s`: from starting `atoll train` to the first line of
metrics.jsonl with a finished step, on generated shapes of the demo's size, with the files in the page cache.
Medians. No peer: the marks are a person's patience (50 ms, 3 s).
"""

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent


def help_seconds(program):
    begin = time.perf_counter()
    subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def first_step_seconds(program, data, out):
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    process = subprocess.Popen(
        [program, "train", "--preset", "tiny", "--data", str(data), "--out", str(out)]
        + ["--set", "train.steps=1", "--set", "train.checkpoint_every=1000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    trace = out / "metrics.jsonl"
    try:
        while process.poll() is None:
            if trace.exists() and '"step"' in trace.read_text():
                return time.perf_counter() - begin
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGTERM)
        errors = process.communicate()[1].decode()
    raise SystemExit(f"atoll train ended before its first step: {errors.strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    program = f"{options.build}/bin/atoll"
    folder = Path(options.build) / "bench-data" / "startup"
    data = folder / "shapes"
    if not data.exists():
        subprocess.run(
            [program, "synth", "--out", str(data), "--images", "1000", "--size", "128"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    first_step_seconds(program, data, folder / "run")  # to warm the page cache
    first_step = [first_step_seconds(program, data, folder / "run") for _ in range(options.runs)]
    helps = [help_seconds(program) for _ in range(4 * options.runs)]
    print(
        json.dumps(
            {
                "bench": "startup",
                "help_ms": round(1000 * statistics.median(helps), 1),
                "train_first_step_s": round(statistics.median(first_step), 2),
                "runs": options.runs,
            }
        )
    )


if __name__ == "__main__":
    main()
