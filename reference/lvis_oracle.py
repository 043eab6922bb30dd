"""The lvis package's evaluation of a case: its printed table, its numbers and its arrays."""

import contextlib
import copy
import importlib.util
import io
import logging
import sys
import types

import numpy as np

# lvis 0.5.3 draws, too: the package's __init__ loads matplotlib. Its evaluation needs neither, so its modules are
# loaded without the __init__. And it was written for a numpy that still had np.float, which was Python's float.
_package = types.ModuleType("lvis")
_package.__path__ = list(importlib.util.find_spec("lvis").submodule_search_locations)
sys.modules["lvis"] = _package
np.float = float

from boundary_oracle import lvis_compute_iou  # noqa: E402
from lvis.eval import LVISEval  # noqa: E402
from lvis.lvis import LVIS  # noqa: E402
from lvis.results import LVISResults  # noqa: E402

logging.getLogger("lvis").setLevel(logging.ERROR)


def load(truth):
    dataset = LVIS.__new__(LVIS)  # the constructor reads a file
    dataset.logger = logging.getLogger("lvis")
    dataset.dataset = copy.deepcopy(truth)
    dataset._create_index()
    return dataset


def evaluate(truth, results, kind, max_detections=300):
    """The evaluator after summarize(), and what print_results() printed; kind "boundary" is the package with another
    IoU."""
    dataset = load(truth)
    found = LVISResults(dataset, copy.deepcopy(results), max_dets=max_detections)
    evaluator = LVISEval(dataset, found, "segm" if kind == "boundary" else kind)
    evaluator.params.max_dets = max_detections
    if kind == "boundary":
        evaluator.compute_iou = types.MethodType(lvis_compute_iou, evaluator)
    evaluator.run()
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        evaluator.print_results()
    return evaluator, text.getvalue()
