"""pycocotools' results on generated cases: the golden file of src/eval/eval_test.cpp.

  .venv-peers/bin/python reference/coco_eval_goldens.py
"""

import json
import pathlib
from importlib.metadata import version

from coco_eval_cases import make_case
from coco_eval_oracle import evaluate, fingerprint

CASES = [
    {"seed": 0},  # an image with over 100 detections
    {"seed": 1},
    {"seed": 2},
    {"seed": 3, "max_detections": [100, 3, 1]},
    {"seed": 4, "max_detections": [1, 10, 50]},  # pycocotools' AP is -1 then
    {"seed": 7, "max_detections": [10, 100, 100]},
    {"seed": 8, "zero_id": True},
    {"seed": 9},
]


def make_golden(seed, zero_id=False, max_detections=(1, 10, 100)):
    truth, results = make_case(seed, images=12, zero_id=zero_id)
    runs = []
    for kind in ("bbox", "segm"):
        for use_categories in (True, False):
            evaluator, text = evaluate(truth, results, kind, use_categories, max_detections)
            runs.append({
                "kind": kind,
                "use_categories": use_categories,
                "stats": [float(v).hex() for v in evaluator.stats],
                "text": text,
                **{key: fingerprint(evaluator.eval[key]) for key in ("precision", "recall", "scores")},
            })
    return {"seed": seed, "max_detections": list(max_detections), "truth": json.dumps(truth, separators=(",", ":")),
            "results": json.dumps(results, separators=(",", ":")), "runs": runs}


def main():
    out = pathlib.Path(__file__).resolve().parent / "goldens" / "coco_eval.json"
    cases = [make_golden(**case) for case in CASES]
    source = f"reference/coco_eval_goldens.py, pycocotools {version('pycocotools')}, numpy {version('numpy')}"
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    out.write_text(f'{{"source":{json.dumps(source)},"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
