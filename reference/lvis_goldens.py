"""The lvis package's results on generated cases: the golden file of src/eval/lvis_test.cpp.

  .venv-peers/bin/python reference/lvis_goldens.py
"""

import json
import pathlib
from importlib.metadata import version

from coco_eval_oracle import fingerprint
from lvis_cases import make_case
from lvis_oracle import evaluate

CASES = [
    {"seed": 0},  # an image with over 300 detections
    {"seed": 1},
    {"seed": 2},
    {"seed": 3, "max_detections": 5},
    {"seed": 8, "zero_id": True},
    {"seed": 9, "max_detections": 100},
    {"seed": 11},
    {"seed": 12, "max_detections": 2},
]


def make_golden(seed, zero_id=False, max_detections=300):
    truth, results = make_case(seed, images=12, zero_id=zero_id)
    runs = []
    for kind in ("bbox", "segm"):
        evaluator, text = evaluate(truth, results, kind, max_detections)
        runs.append({
            "kind": kind,
            "stats": {name: float(value).hex() for name, value in evaluator.results.items()},
            "text": text,
            **{key: fingerprint(evaluator.eval[key]) for key in ("precision", "recall")},
        })
    return {"seed": seed, "max_detections": max_detections, "truth": json.dumps(truth, separators=(",", ":")),
            "results": json.dumps(results, separators=(",", ":")), "runs": runs}


def main():
    out = pathlib.Path(__file__).resolve().parent / "goldens" / "lvis.json"
    cases = [make_golden(**case) for case in CASES]
    source = f"reference/lvis_goldens.py, lvis {version('lvis')}, numpy {version('numpy')}"
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    out.write_text(f'{{"source":{json.dumps(source)},"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
