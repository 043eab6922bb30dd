"""atoll coco-eval --lvis against the lvis package on cases drawn from seeds: the table and the 13 numbers must be
equal, to the last bit. Prints each seed that differs, and the folder that its files are kept in.

  .venv-peers/bin/python reference/lvis_differential.py [--first SEED] [--cases N] [--atoll PROGRAM]
"""

import json
import subprocess

from coco_eval_differential import main
from lvis_cases import make_case
from lvis_oracle import evaluate

KINDS = ("bbox", "segm", "boundary")
MAXIMA = [300, 300, 1, 7, 50]


def compare(seed, program, folder):
    """What differs, as text; empty where nothing does."""
    truth, results = make_case(seed, images=4 + seed % 40, zero_id=seed % 5 == 0)
    if not results:  # the package cannot load an empty list
        return []
    truth_file, results_file, out = folder / "truth.json", folder / "results.json", folder / "out.json"
    truth_file.write_text(json.dumps(truth))
    results_file.write_text(json.dumps(results))
    maximum = MAXIMA[seed % len(MAXIMA)]
    command = [program, "coco-eval", "--gt", truth_file, "--dt", results_file, "--lvis", "--iou", ",".join(KINDS), "--json", out,
               "--strict-pycocotools", "--max-detections", maximum, "--threads", "2"]
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if run.returncode != 0:
        return [f"exit code {run.returncode}: {run.stderr.strip()}"]

    numbers = json.loads(out.read_text())
    differences, table = [], ""
    for kind in KINDS:
        evaluator, text = evaluate(truth, results, kind, maximum)
        table += f"{kind}\n{text}"
        expected = {name: float(value) for name, value in evaluator.results.items()}
        if numbers[kind]["stats"] != expected:
            differences.append(f"{kind} stats: {numbers[kind]['stats']} for {expected}")
    if run.stdout != table:
        differences.append("the printed tables differ")
    return differences


if __name__ == "__main__":
    main(compare, __doc__)
