"""pycocotools and the lvis package with boundary IoU, on generated cases: the golden file of
src/eval/boundary_test.cpp.

  .venv-peers/bin/python reference/boundary_goldens.py
"""

import json
import pathlib
from importlib.metadata import version

import coco_eval_oracle
import lvis_oracle
from coco_eval_oracle import fingerprint
from lvis_cases import make_case

CASES = [{"seed": 5}, {"seed": 15}, {"seed": 16, "zero_id": True}, {"seed": 20}, {"seed": 23}, {"seed": 32}]


def make_golden(seed, zero_id=False):
    truth, results = make_case(seed, images=12, zero_id=zero_id)
    for annotation in truth["annotations"]:
        annotation.setdefault("iscrowd", 0)  # pycocotools needs it
    evaluator, text = coco_eval_oracle.evaluate(truth, results, "boundary")
    joined, _ = coco_eval_oracle.evaluate(truth, results, "boundary", use_categories=False)
    lvis, _ = lvis_oracle.evaluate(truth, results, "boundary")
    return {
        "seed": seed,
        "truth": json.dumps(truth, separators=(",", ":")),
        "results": json.dumps(results, separators=(",", ":")),
        "stats": [float(v).hex() for v in evaluator.stats],
        "joined_stats": [float(v).hex() for v in joined.stats],
        "lvis_stats": [float(v).hex() for v in lvis.results.values()],
        "text": text,
        **{key: fingerprint(evaluator.eval[key]) for key in ("precision", "recall", "scores")},
    }


def main():
    out = pathlib.Path(__file__).resolve().parent / "goldens" / "boundary.json"
    cases = [make_golden(**case) for case in CASES]
    source = (f"reference/boundary_goldens.py, pycocotools {version('pycocotools')}, lvis {version('lvis')}, "
              f"numpy {version('numpy')}")
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    out.write_text(f'{{"source":{json.dumps(source)},"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
