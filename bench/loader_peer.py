"""The other side of the loader benchmark: torchvision's reference pipeline, driven line by line.

What its detection reference does to an image on the way to the model: CocoDetection (Pillow), polygons to masks with
pycocotools, crowds and degenerate boxes left out, to a float tensor, mirrored with its targets, then the model's own
GeneralizedRCNNTransform (normalise, resize image and masks, batch). One thread. Same protocol as loader_bench.cpp.
"""

import argparse
import json
import resource
import sys
import time

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torchvision.datasets import CocoDetection
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import functional

BATCH = 2


def masks_of(annotations, height, width):
    masks = []
    for annotation in annotations:
        runs = coco_mask.frPyObjects(annotation["segmentation"], height, width)
        mask = coco_mask.decode(runs)
        masks.append(torch.as_tensor(mask[..., None] if mask.ndim < 3 else mask, dtype=torch.uint8).any(dim=2))
    return torch.stack(masks) if masks else torch.zeros((0, height, width), dtype=torch.bool)


def target_of(annotations, height, width):
    annotations = [a for a in annotations if a["iscrowd"] == 0]
    boxes = torch.as_tensor([a["bbox"] for a in annotations], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes[:, 0::2].clamp_(0, width)
    boxes[:, 1::2].clamp_(0, height)
    labels = torch.tensor([a["category_id"] for a in annotations], dtype=torch.int64)
    masks = masks_of(annotations, height, width)
    keep = (boxes[:, 3] > boxes[:, 1]) & (boxes[:, 2] > boxes[:, 0])
    return {"boxes": boxes[keep], "labels": labels[keep], "masks": masks[keep].to(torch.uint8)}


class Pipeline:
    def __init__(self, options):
        self.data = CocoDetection(options.images, options.annotations)
        self.transform = GeneralizedRCNNTransform(800, 1333, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        self.transform.train()
        self.random = np.random.default_rng(1)

    def sample(self, index, flip):
        picture, annotations = self.data[index]
        target = target_of(annotations, picture.height, picture.width)
        image = functional.convert_image_dtype(functional.pil_to_tensor(picture), torch.float)
        if flip:
            image = functional.hflip(image)
            target["boxes"][:, [0, 2]] = picture.width - target["boxes"][:, [2, 0]]
            target["masks"] = target["masks"].flip(-1)
        return image, target

    def batch(self, indices, flips):
        images, targets = zip(*(self.sample(i, flip) for i, flip in zip(indices, flips)))
        return self.transform(list(images), list(targets))

    def load(self):
        objects = 0
        for begin in range(0, len(self.data), BATCH):
            indices = range(begin, min(begin + BATCH, len(self.data)))
            _, targets = self.batch(indices, self.random.random(len(indices)) < 0.5)
            objects += sum(len(target["masks"]) for target in targets)
        return objects

    def dump(self, flip, path):
        with open(path, "wb") as out:
            for index in range(len(self.data)):
                images, targets = self.batch([index], [flip])
                height, width = images.image_sizes[0]
                head = torch.tensor([height, width, len(targets[0]["labels"])], dtype=torch.float32)
                pixels = images.tensors[0, :, :height, :width].permute(1, 2, 0).contiguous()
                for values in (head, targets[0]["boxes"], pixels):
                    out.write(values.numpy().tobytes())


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", required=True)
    parser.add_argument("--images", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # pycocotools prints
    pipeline = Pipeline(options)
    for line in sys.stdin:
        command, *arguments = line.split()
        cpu, begin = cpu_seconds(), time.perf_counter()
        check = pipeline.load() if command == "load" else pipeline.dump(arguments[0] == "1", arguments[1])
        answer = {"seconds": time.perf_counter() - begin, "cpu_seconds": cpu_seconds() - cpu, "check": check}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
