"""`./run bench step` and `./run bench inference`: Atoll against torchvision, same work, same run.

Makes the inputs and the weights, starts both programs, and lets them work in turn, A B A B, so that both
see the same machine. One JSON line a case: medians, the median of the pairs' ratios with its range, peak memory and its
ratio, and the first run's result on both sides. Detections and their mask pixels must agree to ALIKE, or the program
ends with 1; the total loss is alike only, because torchvision draws its samples and Atoll keys them.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))
from lifelike_weights import make_lifelike  # noqa: E402
from torchvision.models.detection.image_list import ImageList  # noqa: E402
from torchvision_model import build_torchvision_model  # noqa: E402

# By rounding, one of two boxes with nearly the same score may suppress the other on one side only.
ALIKE = 0.01

# name -> preset, image sizes (height, width), objects an image, overrides of the configuration
CASES = {
    "r50_fpn": ("r50_fpn", [(320, 480), (320, 544)], 7, {"min_size_px": 320, "max_size_px": 544}),
    "tiny": ("tiny", [(128, 128)] * 8, 4, {"num_classes": 5}),
}


def picture(generator, height, width, objects, num_classes):
    """Discs and rectangles on noise: (H, W, 3) uint8, boxes, labels, (G, H, W) bitmaps."""
    image = generator.integers(90, 150, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    boxes, labels, masks = [], [], []
    for _ in range(objects):
        radius_y, radius_x = generator.uniform(0.06, 0.25, 2) * (height, width)
        cy = generator.uniform(radius_y, height - radius_y)
        cx = generator.uniform(radius_x, width - radius_x)
        u, v = (y - cy) / radius_y, (x - cx) / radius_x
        mask = u * u + v * v < 1 if generator.random() < 0.5 else np.maximum(abs(u), abs(v)) < 1
        image[mask] = generator.integers(0, 255, 3)
        rows, columns = np.nonzero(mask)
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        labels.append(generator.integers(1, num_classes))
        masks.append(mask)
    return image, np.float32(boxes), np.int64(labels), np.stack(masks).astype(np.uint8)


def image_list(pictures, config):
    """Pictures (H, W, 3) uint8 whose padded sides are multiples of 32, as torchvision's transform would batch them."""
    mean, std = (torch.tensor(config[key]) * 255 for key in ("image_mean", "image_std"))
    sizes = [tuple(picture.shape[:2]) for picture in pictures]
    pixels = torch.zeros(len(sizes), max(h for h, _ in sizes), max(w for _, w in sizes), 3)
    for pixel, picture, (height, width) in zip(pixels, pictures, sizes):
        pixel[:height, :width] = (picture - mean) * (1 / std)
    return ImageList(pixels.permute(0, 3, 1, 2), sizes)


def prepare(case, folder, bench_program):
    preset, sizes, objects, overrides = CASES[case]
    config = json.loads(
        subprocess.run([bench_program, "--print-config", preset], check=True, capture_output=True).stdout
    )
    config.update(overrides)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    generator = np.random.default_rng(1)
    tensors = {}
    for i, (height, width) in enumerate(sizes):
        values = picture(generator, height, width, objects, config["num_classes"])
        for name, value in zip(("image", "boxes", "labels", "masks"), values):
            tensors[f"{i}.{name}"] = torch.from_numpy(np.ascontiguousarray(value))
    save_file(tensors, folder / "inputs.safetensors")
    torch.manual_seed(1)
    model = build_torchvision_model(config)
    if case == "r50_fpn":  # else it would detect nothing; tiny's few classes do without
        pictures = [tensors[f"{i}.image"] for i in range(len(sizes))]
        make_lifelike(model, image_list(pictures, config))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "weights.safetensors")


class Worker:
    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return json.loads(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["step", "inference"])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--pairs", type=int, help="measured pairs (default: 9 for r50_fpn, 31 for tiny)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    options = parser.parse_args()
    program = f"{options.build}/bench/model_bench"
    for case in options.case or CASES:
        folder = Path(options.build) / "bench-data" / case
        prepare(case, folder, program)
        arguments = [
            options.mode,
            *("--inputs", str(folder / "inputs.safetensors")),
            *("--weights", str(folder / "weights.safetensors")),
            *("--config", str(folder / "config.json")),
            *("--threads", str(options.threads)),
        ]
        atoll = Worker([program, *arguments])
        peer = Worker([sys.executable, str(HERE / "torchvision_peer.py"), *arguments])
        seconds = {"atoll": [], "torchvision": []}
        first = None
        pairs = options.pairs or {"r50_fpn": 9, "tiny": 31}[case]
        for pair in range(pairs + 2):  # two to warm up
            answers = {"atoll": atoll.ask("run"), "torchvision": peer.ask("run")}
            first = first or {name: answer["check"] for name, answer in answers.items()}
            if pair >= 2:
                for name, answer in answers.items():
                    seconds[name].append(answer["seconds"])
        ratios = [a / b for a, b in zip(seconds["atoll"], seconds["torchvision"])]
        peaks = [worker.ask("memory")["peak_bytes"] / 2**20 for worker in (atoll, peer)]
        print(
            json.dumps(
                {
                    "bench": options.mode,
                    "case": case,
                    "threads": options.threads,
                    "pairs": pairs,
                    "atoll_s": round(statistics.median(seconds["atoll"]), 4),
                    "torchvision_s": round(statistics.median(seconds["torchvision"]), 4),
                    "ratio": round(statistics.median(ratios), 3),
                    "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
                    "atoll_peak_mib": round(peaks[0]),
                    "torchvision_peak_mib": round(peaks[1]),
                    "peak_ratio": round(peaks[0] / peaks[1], 3),
                    "first_check": first,
                }
            ),
            flush=True,
        )
        if options.mode == "inference" and not alike(*first.values()):
            sys.exit(f"{case}: the two sides do not find the same")


def alike(ours, theirs):
    return all(theirs[key] > 0 and abs(ours[key] - theirs[key]) <= ALIKE * theirs[key] for key in theirs)


if __name__ == "__main__":
    main()
