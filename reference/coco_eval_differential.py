"""atoll coco-eval against pycocotools on cases drawn from seeds: the table, the 12 numbers and AP for each
category must be equal, to the last bit. Prints each seed that differs, and the folder that its files are kept in.

  .venv-peers/bin/python reference/coco_eval_differential.py [--first SEED] [--cases N] [--atoll PROGRAM]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from coco_eval_cases import make_case
from coco_eval_oracle import evaluate

KINDS = ("bbox", "segm", "boundary")
MAXIMA = [(1, 10, 100), (1, 10, 100), (1, 10, 100), (1, 5, 20), (100, 2, 100), (3, 100, 200)]


def category_ap(evaluator):
    precision = evaluator.eval["precision"]
    values = [precision[:, :, k, 0, -1].ravel() for k in range(precision.shape[2])]
    values = [v[v > -1] for v in values]
    return [float(np.mean(v)) if v.size else -1.0 for v in values]


def compare(seed, program, folder):
    """What differs, as text; empty where nothing does."""
    truth, results = make_case(seed, images=4 + seed % 40, zero_id=seed % 5 == 0)
    if not results:  # pycocotools cannot load an empty list
        return []
    truth_file, results_file, out = folder / "truth.json", folder / "results.json", folder / "out.json"
    truth_file.write_text(json.dumps(truth))
    results_file.write_text(json.dumps(results))
    use_categories = seed % 3 != 1
    maxima = MAXIMA[seed % len(MAXIMA)]
    command = [program, "coco-eval", "--gt", truth_file, "--dt", results_file, "--iou", ",".join(KINDS), "--json", out,
               "--strict-pycocotools", "--max-detections", ",".join(map(str, maxima)), "--threads", "2"]
    if not use_categories:
        command.append("--no-categories")
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if run.returncode != 0:
        return [f"exit code {run.returncode}: {run.stderr.strip()}"]

    numbers = json.loads(out.read_text())
    differences, table = [], ""
    for kind in KINDS:
        evaluator, text = evaluate(truth, results, kind, use_categories, maxima)
        table += f"{kind}\n{text}"
        if numbers[kind]["stats"] != [float(v) for v in evaluator.stats]:
            differences.append(f"{kind} stats: {numbers[kind]['stats']} for {list(evaluator.stats)}")
        found, expected = list(numbers[kind]["per_category"].values()), category_ap(evaluator)
        if found != expected:
            differences.append(f"{kind} AP of the categories: {found} for {expected}")
    if run.stdout != table:
        differences.append("the printed tables differ")
    return differences


def main(compare, description):
    """The command line of a differential; compare(seed, program, folder) says what differs."""
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--atoll", type=pathlib.Path, default=root / "build/release/bin/atoll")
    args = parser.parse_args()
    different = 0
    for seed in range(args.first, args.first + args.cases):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"differential_{seed}_"))
        differences = compare(seed, args.atoll, folder)
        if differences:
            different += 1
            print(f"seed {seed} ({folder}):", *differences, sep="\n  ", flush=True)
            continue
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    print(f"{args.cases} cases from seed {args.first}: {different} differ")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main(compare, __doc__)
