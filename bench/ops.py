"""`./run bench ops`: Atoll's single operations against torchvision's, on the same values, in turn.

ops_bench.cpp says what the shapes are and how both sides come to the same values. The peers are torchvision's
MultiScaleRoIAlign, batched_nms, box_iou with Matcher, project_masks_on_boxes (from full-size bitmaps; Atoll has runs) and,
for pasting, paste_masks_in_image with pycocotools' encode, mask for mask, as torchvision's reference evaluation does.

One JSON line an operation: medians in milliseconds over the pairs, the median of the pairs' ratios with its range,
and the sums of both results, which must agree (only rounding apart, RELATIVE), or the program ends with 1.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes
from torchvision.ops import MultiScaleRoIAlign, batched_nms, box_iou

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))
from keyed_random import uniform  # noqa: E402

HEIGHT, WIDTH, IMAGES, CHANNELS = 320, 544, 2, 256
SEED, BATCH_MS = 1, 10.0
RELATIVE = 1e-5


def random_boxes(count, key, height=HEIGHT, width=WIDTH):
    values = np.stack([uniform([key, i], 4) for i in range(count)])
    centre, side = values[:, :2] * (width, height), 8 * 37.5 ** values[:, 2:]
    corners = np.concatenate([centre - side / 2, centre + side / 2], 1)
    return torch.from_numpy(np.clip(corners, 0, (width, height) * 2)).float()


def roi_align(rois, pooled_size, backward):
    features = {
        str(i): torch.randn(IMAGES, CHANNELS, HEIGHT >> (2 + i), WIDTH >> (2 + i)).requires_grad_(backward)
        for i in range(4)
    }
    pool = MultiScaleRoIAlign(list("0123"), pooled_size, 2)
    boxes = list(random_boxes(IMAGES * rois, 1).split(rois))
    gradient = torch.randn(IMAGES * rois, CHANNELS, pooled_size, pooled_size)

    def work():
        pooled = pool(features, boxes, [(HEIGHT, WIDTH)] * IMAGES)
        if not backward:
            return pooled
        for feature in features.values():
            feature.grad = None
        pooled.backward(gradient)
        return features["0"].grad

    return work


def nms():
    boxes, scores, groups = random_boxes(4000, 2), torch.rand(4000), torch.arange(4000) % 4
    return lambda: batched_nms(boxes, scores, groups, 0.7)


def match_boxes():
    truth, anchors = random_boxes(20, 3), random_boxes(50_000, 4)
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    return lambda: matcher(box_iou(truth, anchors))


def paste_masks():
    boxes = random_boxes(100, 5, 480, 640)
    masks = torch.nn.functional.interpolate(torch.rand(100, 1, 4, 4), (28, 28), mode="bilinear")

    def work():
        area = 0
        for mask in paste_masks_in_image(masks, boxes, (480, 640)) > 0.5:
            area += int(coco_mask.area(coco_mask.encode(np.asfortranarray(mask[0].numpy().astype(np.uint8)))))
        return torch.tensor(area)

    return work


def mask_targets():
    masks = torch.zeros(20, HEIGHT, WIDTH, dtype=torch.uint8)
    masks[:, :, WIDTH // 2 :] = 1
    boxes, index = random_boxes(128, 6), torch.arange(128) % 20
    return lambda: project_masks_on_boxes(masks, boxes, index, 28)


PEERS = {
    "roi_align_7x7": lambda: roi_align(512, 7, False),
    "roi_align_7x7_and_backward": lambda: roi_align(512, 7, True),
    "roi_align_14x14": lambda: roi_align(128, 14, False),
    "roi_align_14x14_and_backward": lambda: roi_align(128, 14, True),
    "batched_nms_4000": nms,
    "match_boxes_20x50000": match_boxes,
    "mask_targets_128": mask_targets,
    "paste_masks_100": paste_masks,
}


def milliseconds(work, repetitions):
    start = time.perf_counter()
    for _ in range(repetitions):
        work()
    return (time.perf_counter() - start) * 1000 / repetitions


def measured(work):
    check = work().double().sum().item()
    return {"ms": milliseconds(work, 1 + int(BATCH_MS / milliseconds(work, 1))), "check": check}


def compare(name, atoll, pairs):
    torch.manual_seed(SEED)
    work = PEERS[name]()

    def ask():
        print(name, file=atoll.stdin, flush=True)
        return json.loads(atoll.stdout.readline() or sys.exit(f"ops_bench ended with {atoll.wait()}"))

    rounds = [(ask(), measured(work)) for _ in range(pairs + 1)]
    checks = [answer["check"] for answer in rounds[0]]
    ours, theirs = ([answers[side]["ms"] for answers in rounds[1:]] for side in (0, 1))  # the first warms up
    ratios = [a / b for a, b in zip(ours, theirs)]
    result = {
        "bench": "ops",
        "operation": name,
        "pairs": pairs,
        "atoll_ms": round(statistics.median(ours), 3),
        "torchvision_ms": round(statistics.median(theirs), 3),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_range": [round(min(ratios), 4), round(max(ratios), 4)],
        "checks": checks,
    }
    print(json.dumps(result), flush=True)
    return abs(checks[0] - checks[1]) <= RELATIVE * abs(checks[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operation", choices=PEERS, action="append")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    atoll = subprocess.Popen(
        [f"{options.build}/bench/ops_bench", str(options.threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    differ = [name for name in options.operation or PEERS if not compare(name, atoll, options.pairs)]
    if differ:
        sys.exit(f"the two sides do not agree: {', '.join(differ)}")


if __name__ == "__main__":
    main()
