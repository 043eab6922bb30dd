"""pycocotools' evaluation of a case: its summary, its 12 numbers and fingerprints of its arrays."""

import contextlib
import copy
import io

import numpy as np
from boundary_oracle import BoundaryEval
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def fingerprint(array):
    """FNV-1a over the little-endian bytes of the float64 array, as the tests compute it; -0 counts as 0."""
    value = 0xCBF29CE484222325
    for byte in (np.ascontiguousarray(array, "<f8") + 0.0).tobytes():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def load(truth):
    dataset = COCO()
    dataset.dataset = copy.deepcopy(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
    return dataset


def evaluate(truth, results, kind, use_categories=True, max_detections=(1, 10, 100)):
    """The evaluator after summarize(), and what summarize() printed; kind "boundary" is pycocotools with another
    IoU. pycocotools changes what it is given, so each call loads anew."""
    text = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = load(truth)
        found = dataset.loadRes(copy.deepcopy(results))
        evaluator = BoundaryEval(dataset, found, "segm") if kind == "boundary" else COCOeval(dataset, found, kind)
        evaluator.params.useCats = int(use_categories)
        evaluator.params.maxDets = list(max_detections)
        evaluator.evaluate()
        evaluator.accumulate()
    with contextlib.redirect_stdout(text):
        evaluator.summarize()
    return evaluator, text.getvalue()
