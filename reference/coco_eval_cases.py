"""Ground truths and results to evaluate, with what makes evaluators differ: equal scores, crowds, more
detections than are counted, images without either, categories without ground truth, areas on the
borders of the ranges, boxes and masks that match twice. Drawn from a seed; used by coco_eval_goldens.py and
coco_eval_differential.py."""

import numpy as np
from pycocotools import mask as coco_mask

CATEGORY_IDS = [3, 1, 18, 7, 90]


def _rle(rng, mask, listed):
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    if not listed:
        return {"size": rle["size"], "counts": rle["counts"].decode()}
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    counts = np.diff(bounds).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + counts}


def _blob(rng, box):
    """A polygon around the middle of a box."""
    x, y, w, h = box
    points = int(rng.integers(4, 10))
    angle = np.sort(rng.random(points)) * 2 * np.pi
    radius = 0.5 + 0.5 * rng.random(points)
    xy = np.stack([x + w / 2 * (1 + radius * np.cos(angle)), y + h / 2 * (1 + radius * np.sin(angle))], 1)
    return np.round(xy, 2).ravel().tolist()


def _mask(polygon, height, width):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([polygon], height, width))).astype(bool)


def make_case(seed, images=24, zero_id=False):
    """(ground truth, results) as the JSON files hold them."""
    rng = np.random.default_rng([seed, 7])
    categories = CATEGORY_IDS[: int(rng.integers(1, len(CATEGORY_IDS) + 1))]
    with_truth = categories[:-1] if len(categories) > 2 else categories
    score_steps = int(rng.choice([4, 10, 1000]))
    images_json, annotations, results = [], [], []
    ids = rng.permutation(images * 3)[:images]
    crowded = int(rng.integers(0, images)) if seed % 3 == 0 else -1
    next_id = 0 if zero_id else 1

    for n, image_id in enumerate(int(v) for v in ids):
        height, width = (int(v) for v in rng.integers(40, 220, 2))
        images_json.append({"id": image_id, "height": height, "width": width, "file_name": f"{image_id}.jpg"})
        if rng.random() < 0.1:
            truth_count = 0
        else:
            truth_count = int(rng.integers(0, 7))
        boxes = []
        for _ in range(truth_count):
            side = rng.choice([12.0, 32.0, 60.0, 96.0, 150.0])
            w = min(width, round(float(side * (0.6 + 0.8 * rng.random())), 2))
            h = min(height, round(float(side * (0.6 + 0.8 * rng.random())), 2))
            if rng.random() < 0.15:
                w, h = min(side, width), min(side, height)
            x = round(float(rng.random() * (width - w)), 2)
            y = round(float(rng.random() * (height - h)), 2)
            box = [x, y, w, h]
            if boxes and rng.random() < 0.1:
                box = list(boxes[-1][0])  # one on the other: equal IoU
            crowd = int(rng.random() < 0.12)
            polygon = _blob(rng, box)
            if crowd or rng.random() < 0.1:
                segmentation = _rle(rng, _mask(polygon, height, width), listed=rng.random() < 0.7)
            elif rng.random() < 0.2:
                segmentation = [polygon, _blob(rng, [x, y, w / 2, h / 2])]
            else:
                segmentation = [polygon]
            area = round(w * h * 0.7, 4) if rng.random() < 0.7 else float(rng.choice([1024.0, 9216.0, w * h]))
            category = int(rng.choice(with_truth))
            boxes.append((box, category, polygon))
            annotations.append({"id": next_id, "image_id": image_id, "category_id": category, "bbox": box,
                                "area": area, "iscrowd": crowd, "segmentation": segmentation})
            next_id += 1

        if rng.random() < 0.1:
            continue
        found = list(boxes) * int(rng.integers(0, 3))
        found += [([float(v) for v in np.round(rng.random(4) * [width / 2, height / 2, width / 2, height / 2] + [0, 0, 1, 1], 2)],
                   int(rng.choice(categories)), None) for _ in range(int(rng.integers(0, 5)))]
        if n == crowded:
            found += (boxes or [([5.0, 5.0, 30.0, 30.0], categories[0], None)]) * 130
        for box, category, polygon in found:
            jitter = rng.choice([0, 0.03, 0.1, 0.3])
            x, y, w, h = box
            dx, dy = (rng.random(2) - 0.5) * jitter * [w, h]
            moved = [round(float(v), 2) for v in (x + dx, y + dy, w * (1 + (rng.random() - 0.5) * jitter), h)]
            if polygon is None or jitter > 0.05:
                polygon = _blob(rng, moved)
            if rng.random() < 0.1:
                category = int(rng.choice(categories))
            results.append({"image_id": image_id, "category_id": category, "bbox": moved,
                            "score": float(np.ceil(rng.random() * score_steps) / score_steps),
                            "segmentation": _rle(rng, _mask(polygon, height, width), listed=False)})

    order = rng.permutation(len(annotations))
    truth = {"images": images_json, "annotations": [annotations[i] for i in order],
             "categories": [{"id": c, "name": f"kind {c}", "supercategory": ""} for c in categories]}
    results = [results[i] for i in rng.permutation(len(results))]
    if seed % 4 == 1:  # boxes taken from masks
        for result in results:
            del result["bbox"]
    if seed % 4 == 2:  # masks taken from boxes
        for result in results:
            del result["segmentation"]
    return truth, results
