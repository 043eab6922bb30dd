"""The other side of the step and inference benchmarks: torchvision, driven line by line.

Same protocol and same inputs as model_bench.cpp; started by compare.py.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent.parent / "reference"))
from torchvision_model import build_torchvision_model  # noqa: E402


def read_pictures(path):
    tensors = load_file(path)
    pictures = []
    while f"{len(pictures)}.image" in tensors:
        i = len(pictures)
        pictures.append(
            {name: tensors[f"{i}.{name}"] for name in ("image", "boxes", "labels", "masks")}
        )
    return pictures


class Bench:
    def __init__(self, options):
        config = json.loads(Path(options.config).read_text())
        self.model = build_torchvision_model(config)
        self.model.load_state_dict(load_file(options.weights))
        self.pictures = read_pictures(options.inputs)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=1e-4)
        self.targets = [
            {name: p[name] for name in ("boxes", "labels", "masks")} for p in self.pictures
        ]

    def images(self):
        # What torchvision's reference transforms hand to the model: (3, H, W) float in [0, 1].
        return [p["image"].permute(2, 0, 1).contiguous().float().div(255) for p in self.pictures]

    def step(self):
        self.model.train()
        losses = sum(self.model(self.images(), self.targets).values())
        self.optimizer.zero_grad()
        losses.backward()
        self.optimizer.step()
        return losses.item()

    @torch.no_grad()
    def inference(self):
        self.model.eval()
        area = count = 0
        for found in self.model(self.images()):
            count += len(found["scores"])
            # As torchvision's references/detection/coco_eval.py prepares results.
            masks = found["masks"] > 0.5
            for mask in masks:
                bitmap = np.asfortranarray(mask[0].numpy().astype(np.uint8))
                area += int(coco_mask.area(coco_mask.encode(bitmap)))
        return {"detections": count, "mask_pixels": area}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["step", "inference"])
    for name in ("inputs", "weights", "config", "threads"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    torch.set_num_threads(int(options.threads))
    bench = Bench(options)
    work = bench.step if options.mode == "step" else bench.inference
    for line in sys.stdin:
        if line.strip() == "memory":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"peak_bytes": peak}), flush=True)
            continue
        begin = time.perf_counter()
        check = work()
        print(json.dumps({"seconds": time.perf_counter() - begin, "check": check}), flush=True)


if __name__ == "__main__":
    main()
