"""LVIS ground truths and results: the cases of coco_eval_cases.py with what LVIS adds. Drawn from a seed; used by
lvis_goldens.py and lvis_differential.py."""

import numpy as np
from coco_eval_cases import make_case as make_coco_case


def make_case(seed, images=24, zero_id=False):
    """(ground truth, results) as the JSON files hold them."""
    truth, results = make_coco_case(seed, images, zero_id)
    rng = np.random.default_rng([seed, 11])
    categories = [category["id"] for category in truth["categories"]]
    for category in truth["categories"]:
        category["frequency"] = str(rng.choice(["r", "c", "f"]))
    for image in truth["images"]:
        present = {a["category_id"] for a in truth["annotations"] if a["image_id"] == image["id"]}
        absent = [c for c in categories if c not in present]
        image["neg_category_ids"] = [int(c) for c in rng.permutation(absent) if rng.random() < 0.5]
        # Real files have categories here that are present, and some that are not.
        image["not_exhaustive_category_ids"] = [int(c) for c in rng.permutation(categories) if rng.random() < 0.25]
        if rng.random() < 0.5:  # as LVIS v1 has it
            image["coco_url"] = f"http://images.cocodataset.org/train2017/{image.pop('file_name')}"
    for annotation in truth["annotations"]:
        if rng.random() < 0.1:
            annotation["ignore"] = int(rng.random() < 0.7)
        if rng.random() < 0.03:
            annotation["area"] = 0.0
        if rng.random() < 0.8:
            del annotation["iscrowd"]
    for result in results:
        if "bbox" in result and rng.random() < 0.03:
            result["bbox"] = result["bbox"][:2] + [0.0, 5.0]  # without area: dropped
    return truth, results
