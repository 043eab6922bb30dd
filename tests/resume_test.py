"""A run killed with SIGKILL at random moments and resumed with the same command gives the same losses and
the same model, bit for bit, as one that never stopped.

Usage: resume_test.py ATOLL ATOLL_ENGINE [KILLS [SEED]]
The moments are random in (0, the time that the whole run takes), so that start-up, steps, checkpoints
and the evaluation are all hit in the long run; the seed is printed for a repeat.
"""
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

LOSSES = ["loss", "loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"]
STEPS = 12


def command(engine, data, out):
    sets = {"train.steps": STEPS, "train.global_batch": 2, "train.checkpoint_every": 2,
            "train.keep_checkpoints": 2, "train.ema_decay": 0.9, "train.eval_every": 6,
            "model.min_size_px": 64, "model.max_size_px": 64, "threads": 2}
    arguments = [engine, "train", "--preset", "tiny", "--data", data, "--out", out, "--device", "cpu"]
    for key, value in sets.items():
        arguments += ["--set", f"{key}={value}"]
    return [str(argument) for argument in arguments]


def start(arguments):
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(arguments):
    process = start(arguments)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output


def metrics(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [(line["step"], [line[name] for name in LOSSES]) for line in lines if "loss" in line]
    evaluations = [(line["step"], line["bbox"], line["segm"]) for line in lines if "bbox" in line]
    return steps, evaluations


def main():
    atoll, engine = sys.argv[1:3]
    kills = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
    print(f"{kills} kills, seed {seed}")
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data, whole, killed = folder / "data", folder / "whole", folder / "killed"
        subprocess.run([atoll, "synth", "--out", data, "--images", "12", "--size", "64", "--seed", "3"], check=True)
        begin = time.monotonic()
        finish(command(engine, data, whole))
        duration = time.monotonic() - begin
        deaths = 0
        while deaths < kills:
            process = start(command(engine, data, killed))
            begin = time.monotonic()
            try:
                process.communicate(timeout=moments.uniform(0.1, 0.6) * duration)
                # It was faster than the whole run promised: once more from the beginning.
                duration = min(duration, time.monotonic() - begin) * 0.8
                shutil.rmtree(killed)
                deaths = 0
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                deaths += 1
        finish(command(engine, data, killed))
        print(f"killed {deaths} times in runs of {duration:.1f} s")
        steps, evaluations = metrics(whole)
        assert [step for step, _ in steps] == list(range(1, STEPS + 1)), steps
        assert metrics(killed) == (steps, evaluations)
        for name in ["model.safetensors", "best.safetensors", "eval.json", "predictions.json"]:
            assert (killed / name).read_bytes() == (whole / name).read_bytes(), f"{name} differs"
        # The two newest ones and the best; nothing of those that a kill left half written.
        for out in [whole, killed]:
            names = sorted(file.name for file in (out / "checkpoints").iterdir() if file.name[0] != ".")
            manifests = [name for name in names if name.endswith(".manifest.json")]
            shards = [name.replace(".manifest.json", ".shard-00000-of-00001.safetensors") for name in manifests]
            assert names == sorted(manifests + shards) and 2 <= len(manifests) <= 3, names


if __name__ == "__main__":
    main()
