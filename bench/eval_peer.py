"""One evaluator of the eval benchmark in a process of its own: bbox and segm from one load, as its page says to use it.

Prints one JSON line: seconds from the end of the imports on, CPU seconds and peak memory of the process, the 24 numbers.
With --no-categories objects of all categories are one (useCats = 0). With --arrays FOLDER the precision, recall and score arrays go to FOLDER/KIND_NAME.f64.
"""

import argparse
import contextlib
import importlib
import io
import json
import resource
import time
from pathlib import Path

import numpy as np

MODULES = {
    "ultrafast": ("ultrafast_pycocotools", "ultrafast_pycocotools", "loadRes"),
    "hotcoco": ("hotcoco", "hotcoco", "load_res"),
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval", "loadRes"),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=MODULES)
    parser.add_argument("truth")
    parser.add_argument("results")
    parser.add_argument("--arrays", type=Path)
    parser.add_argument("--no-categories", action="store_true")
    options = parser.parse_args()
    coco_module, eval_module, load = MODULES[options.peer]
    coco_class = importlib.import_module(coco_module).COCO
    eval_class = importlib.import_module(eval_module).COCOeval

    begin = time.perf_counter()
    evaluators = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class(options.truth)
        results = getattr(truth, load)(options.results)
        for kind in ("bbox", "segm"):
            evaluator = eval_class(truth, results, kind)
            if options.no_categories:
                evaluator.params.useCats = 0
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
            evaluators[kind] = evaluator
    seconds = time.perf_counter() - begin
    usage = resource.getrusage(resource.RUSAGE_SELF)

    if options.arrays:
        for kind, evaluator in evaluators.items():
            for name in ("precision", "recall", "scores"):
                array = np.ascontiguousarray(evaluator.eval[name], "<f8")
                array.tofile(options.arrays / f"{kind}_{name}.f64")
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "peak_mb": usage.ru_maxrss * 1024 / 1e6,
                "stats": {kind: [float(v) for v in e.stats] for kind, e in evaluators.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
