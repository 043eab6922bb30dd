"""Masks as pycocotools makes them: the golden file of src/dataset/rle_test.cpp.

  .venv-peers/bin/python reference/rle_goldens.py [--cases N] [--out FILE]

Each case is drawn from its own seed, so a longer file begins with the shorter one's cases. To hold the
code against many more cases than are committed:

  .venv-peers/bin/python reference/rle_goldens.py --cases 5000 --out /tmp/rle.json
  ATOLL_RLE_GOLDENS=/tmp/rle.json build/release/src/dataset_test --gtest_filter='RleGoldens.*'
"""

import argparse
import json
import pathlib
from importlib.metadata import version

import numpy as np
from pycocotools import mask as coco_mask


def polygon(rng, height, width):
    """One of the kinds of polygon that annotation files hold, the bad ones too."""
    points = int(rng.integers(3, 12))
    side = np.tile([width, height], points)
    kind = rng.integers(0, 9)
    unit = rng.random(2 * points)
    if kind == 0:  # inside
        xy = unit * side
    elif kind == 1:  # around the borders
        xy = (unit * 2 - 0.5) * side
    elif kind == 2:  # whole pixels: edges on exact centres and borders
        xy = np.floor(unit * (side + 2)) - 1
    elif kind == 3:  # the rounding points of the upsampled grid
        xy = np.round(unit * side * 10) / 10
    elif kind == 4:  # far outside
        xy = (unit - 0.5) * rng.choice([1e3, 1e5]) + 0.5 * side
    elif kind == 5:  # a ring, as an outline is
        angle = 2 * np.pi * np.arange(points) / points
        radius = unit[:points] * min(height, width)
        xy = np.stack([width / 2 + radius * np.cos(angle), height / 2 + radius * np.sin(angle)], 1).ravel()
    elif kind == 6:  # points that repeat
        xy = np.repeat((unit * side).reshape(-1, 2)[: (points + 1) // 2 + 1], 2, axis=0).ravel()
    elif kind == 7:  # all on one line
        direction = rng.random(2) * [width, height]
        xy = (unit[:points, None] * direction).ravel()
    else:  # upright and level edges
        xs, ys = unit[:2] * width, unit[2:4] * height
        xy = np.array([xs[0], ys[0], xs[1], ys[0], xs[1], ys[1], xs[0], ys[1]])
    return [float(v) for v in np.round(xy, 2 if rng.random() < 0.7 else 12)]


def bitmap(rng, height, width):
    kind = rng.integers(0, 5)
    if kind == 0:
        mask = rng.random((height, width)) < rng.random()
    elif kind == 1:
        mask = np.zeros((height, width), bool)
    elif kind == 2:
        mask = np.ones((height, width), bool)
    else:  # blocks: long runs, whole columns
        mask = np.zeros((height, width), bool)
        for _ in range(3):
            y, x = rng.integers(0, height), rng.integers(0, width)
            mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = True
    return np.asfortranarray(mask.astype(np.uint8))


def text(rle):
    return rle["counts"].decode()


def make_case(seed):
    rng = np.random.default_rng([seed, 20])
    height, width = (int(v) for v in rng.integers(1, 60, 2))
    if seed % 10 == 0:
        height, width = (int(v) for v in rng.integers(200, 700, 2))
    polygons = [polygon(rng, height, width) for _ in range(3)]
    rasterised = coco_mask.frPyObjects(polygons, height, width)
    masks = [coco_mask.encode(bitmap(rng, height, width)) for _ in range(2)] if height < 100 else []
    masks += rasterised
    crowd = [int(v) for v in rng.integers(0, 2, len(masks))]
    boxes = np.round(rng.random((3, 4)) * 50 - 5, 3)
    other = np.round(rng.random((3, 4)) * 50 - 5, 3)
    return {
        "size": [height, width],
        "polygons": polygons,
        "masks": [text(m) for m in masks],  # the last three are the polygons'
        "union": text(coco_mask.merge(masks)),
        "intersection": text(coco_mask.merge(masks[:2], intersect=True)),
        "area": [int(v) for v in coco_mask.area(masks)],
        "box": [[int(v) for v in b] for b in coco_mask.toBbox(masks)],
        "crowd": crowd,
        "iou": [[float(v).hex() for v in row] for row in coco_mask.iou(masks, masks, crowd)],
        "boxes": [boxes.tolist(), other.tolist()],
        "box_iou": [[float(v).hex() for v in row] for row in coco_mask.iou(boxes, other, crowd[:3])],
    }


def main():
    root = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=80)
    parser.add_argument("--out", type=pathlib.Path, default=root / "goldens" / "rle.json")
    args = parser.parse_args()
    cases = [make_case(seed) for seed in range(args.cases)]
    source = f"reference/rle_goldens.py --cases {args.cases}, pycocotools {version('pycocotools')}"
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    args.out.write_text(f'{{"source":{json.dumps(source)},"cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
