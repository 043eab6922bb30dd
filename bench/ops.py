"""`./run bench ops`: RoIAlign over an FPN, Atoll's against torchvision's, and Atoll's other operations.

The same shapes in both (320 x 544 px, two images, 256 channels, 512 boxes an image at 7 x 7, 128 at 14 x 14; sides
of 8 to 300 px), boxes drawn alike but not the same. The two programs run in turn; each number is the fastest
repetition, in milliseconds. One JSON line.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import torch
from torchvision.ops import MultiScaleRoIAlign

HEIGHT, WIDTH, IMAGES, CHANNELS = 320, 544, 2, 256


def boxes(count):
    size = torch.tensor([WIDTH, HEIGHT])
    centre, side = torch.rand(count, 2) * size, 8 * 37.5 ** torch.rand(count, 2)
    corners = torch.cat([centre - side / 2, centre + side / 2], 1)
    return corners.clamp(min=0).minimum(size.repeat(2))


def torchvision_ms(rois, pooled_size, backward, repetitions=5):
    features = {
        str(i): torch.randn(IMAGES, CHANNELS, HEIGHT >> (2 + i), WIDTH >> (2 + i)).requires_grad_()
        for i in range(4)
    }
    pool = MultiScaleRoIAlign(list("0123"), pooled_size, 2)
    given = [boxes(rois) for _ in range(IMAGES)]
    gradient = torch.randn(IMAGES * rois, CHANNELS, pooled_size, pooled_size)
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        pooled = pool(features, given, [(HEIGHT, WIDTH)] * IMAGES)
        if backward:
            pooled.backward(gradient)
            for feature in features.values():
                feature.grad = None
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", default=str(Path(__file__).parent.parent / "build/release"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    program = [f"{options.build}/bench/ops_bench", str(options.threads)]
    ours, theirs = {}, {}
    for _ in range(options.rounds):
        found = json.loads(subprocess.run(program, check=True, capture_output=True).stdout)
        peer = {
            f"roi_align_{size}x{size}_forward{suffix}_ms": torchvision_ms(rois, size, bool(suffix))
            for rois, size in ((512, 7), (128, 14))
            for suffix in ("", "_backward")
        }
        ours = {name: min(value, ours.get(name, value)) for name, value in found.items()}
        theirs = {name: min(value, theirs.get(name, value)) for name, value in peer.items()}
    faster = {name: round(value / ours[name], 1) for name, value in theirs.items()}
    print(json.dumps({"bench": "ops", "atoll": ours, "torchvision": theirs, "times_faster": faster}))


if __name__ == "__main__":
    main()
