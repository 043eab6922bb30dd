"""`./run bench loader`: from JPEG files to a training batch on one core, against torchvision's reference pipeline and
against libjpeg-turbo's bare decode of the same files.

Decode, resize to 800/1333, mirror, normalise, boxes and mask targets, batches of two. The data are generated: 640x480
and 480x640 JPEGs, 4:4:4 baseline of COCO's size in bytes, about seven objects an image in polygons of COCO's kind;
and real pictures where ATOLL_REAL_DATA (default: ../shared/data) has them. Atoll, the peer and the bare decode work in
turn, A B C A B C, all on one core. One JSON line for each set: medians of a pass, ratios of the medians, and how far the
pixels are from the reference's, in steps of 1/255. Pixels that are too far off end it: then other work is timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
STANDARD_DEVIATION = np.float32([0.229, 0.224, 0.225])
MOST_DIFFERENCE = {"mean": 1.0, "max": 3.0}  # steps of 1/255


def natural_noise(generator, height, width):
    """Amplitude falls with frequency as in photographs; the channels share most of it."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width)) ** 1.4
    layers = []
    for _ in range(4):
        noise = np.fft.rfft2(generator.standard_normal((height, width))) * amplitude
        layer = np.fft.irfft2(noise, (height, width))
        layers.append((layer - layer.mean()) / layer.std())
    grey, colours = layers[0], np.stack(layers[1:], -1)
    return 120 + 48 * (0.93 * grey[..., None] + 0.37 * colours)


def outline(generator, height, width):
    """A star-shaped polygon with a wavy outline, of the sizes that COCO's objects have."""
    points = int(np.clip(generator.lognormal(3.3, 0.5), 6, 120))
    radius = np.exp(generator.uniform(np.log(8), np.log(0.4 * min(height, width))))
    angle = np.sort(generator.uniform(0, 2 * np.pi, points))
    waves = sum(generator.uniform(-0.15, 0.15) * np.cos(k * angle + generator.uniform(0, 6)) for k in range(1, 6))
    centre = generator.uniform([0.1 * width, 0.1 * height], [0.9 * width, 0.9 * height])
    stretch = generator.uniform(0.6, 1.4)
    x = centre[0] + radius * stretch * (1 + waves) * np.cos(angle)
    y = centre[1] + radius / stretch * (1 + waves) * np.sin(angle)
    return np.stack([np.clip(x, 0, width), np.clip(y, 0, height)], -1).round(2)


def generate(folder, count):
    marker = folder / f"made-{count}-2"
    if marker.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(4)
    images, annotations = [], []
    for i in range(count):
        # Pairs of batches: landscape, and every fourth one portrait.
        width, height = (480, 640) if i // 2 % 4 == 3 else (640, 480)
        canvas = Image.fromarray(natural_noise(generator, height, width).clip(0, 255).astype(np.uint8))
        for _ in range(int(np.clip(generator.poisson(7.3), 1, 30))):
            polygon = outline(generator, height, width)
            low, high = polygon.min(0), polygon.max(0)
            if min(high - low) < 2:
                continue
            texture = natural_noise(generator, height, width) + generator.uniform(-60, 60, 3)
            mask = Image.new("L", (width, height))
            ImageDraw.Draw(mask).polygon([tuple(p) for p in polygon], fill=255)
            canvas.paste(Image.fromarray(texture.clip(0, 255).astype(np.uint8)), (0, 0), mask)
            x, y = polygon.T
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": int(generator.integers(1, 81)),
                    "iscrowd": 0,
                    "bbox": [*low.tolist(), *(high - low).round(2).tolist()],
                    "area": float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2),
                    "segmentation": [polygon.reshape(-1).tolist()],
                }
            )
        name = f"{i + 1:012}.jpg"
        canvas.save(folder / name, quality=94, subsampling=0)
        images.append({"id": i + 1, "width": width, "height": height, "file_name": name})
    categories = [{"id": k, "name": f"class {k}"} for k in range(1, 81)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    marker.touch()


class Worker:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args[0]} ended with {self.process.wait()}")
        return json.loads(answer)


def samples(path):
    values = np.memmap(path, dtype=np.float32, mode="r")
    at = 0
    while at < len(values):
        height, width, objects = (int(v) for v in values[at : at + 3])
        boxes = values[at + 3 : at + 3 + 4 * objects].reshape(-1, 4)
        at += 3 + 4 * objects
        yield boxes, values[at : at + height * width * 3].reshape(height, width, 3)
        at += height * width * 3


def compare(workers, folder):
    """Mean and largest difference of the pixels in steps of 1/255, largest of the boxes in pixels, mirrored or not."""
    total, count, largest, box_largest = 0.0, 0, 0.0, 0.0
    for flip in (0, 1):
        paths = []
        for name in ("atoll", "torchvision"):
            paths.append(folder / f"dump-{name}")
            workers[name].ask(f"dump {flip} {paths[-1]}")
        for (our_boxes, ours), (their_boxes, theirs) in zip(*map(samples, paths), strict=True):
            if ours.shape != theirs.shape or our_boxes.shape != their_boxes.shape:
                sys.exit(f"different samples: {ours.shape} {our_boxes.shape}, {theirs.shape} {their_boxes.shape}")
            steps = np.abs(ours - theirs) * (STANDARD_DEVIATION * 255)
            total, count = total + float(steps.sum(dtype=np.float64)), count + steps.size
            largest = max(largest, float(steps.max()))
            if len(our_boxes):
                box_largest = max(box_largest, float(np.abs(our_boxes - their_boxes).max()))
        for path in paths:
            path.unlink()
    return {"mean": round(total / count, 4), "max": round(largest, 4), "box_max_px": round(box_largest, 4)}


def measure(name, annotations, images, folder, options):
    arguments = ["--annotations", str(annotations), "--images", str(images)]
    ours = Worker([f"{options.build}/bench/loader_bench", *arguments])
    peer = Worker([sys.executable, str(HERE / "loader_peer.py"), *arguments])
    turns = {"atoll": (ours, "load"), "decode": (ours, "decode"), "torchvision": (peer, "load")}
    answers = {turn: [] for turn in turns}
    for round_ in range(options.rounds + 2):  # two to warm up
        for turn, (worker, command) in turns.items():
            answer = worker.ask(command)
            if round_ >= 2:
                answers[turn].append(answer)
    median = {t: statistics.median(a["seconds"] for a in of) for t, of in answers.items()}
    cpu = {t: statistics.median(a["cpu_seconds"] for a in of) for t, of in answers.items()}
    count = len(json.loads(annotations.read_text())["images"])
    return {
        "bench": "loader",
        "case": name,
        "images": count,
        "mean_file_kb": round(sum(f.stat().st_size for f in images.glob("*.jpg")) / count / 1000),
        "rounds": options.rounds,
        "images_per_s": {turn: round(count / seconds, 1) for turn, seconds in median.items()},
        "ms_per_image": {turn: round(1000 * seconds / count, 2) for turn, seconds in median.items()},
        "times_torchvision": round(median["torchvision"] / median["atoll"], 2),
        "times_bare_decode": round(median["atoll"] / median["decode"], 2),
        "by_cpu_time": {
            "times_torchvision": round(cpu["torchvision"] / cpu["atoll"], 2),
            "times_bare_decode": round(cpu["atoll"] / cpu["decode"], 2),
        },
        "objects": {turn: answers[turn][0]["check"] for turn in ("atoll", "torchvision")},
        "difference": compare({"atoll": ours, "torchvision": peer}, folder),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=32, help="to generate")
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    folder = Path(options.build) / "bench-data" / "loader"
    generate(folder, options.images)
    real = Path(os.environ.get("ATOLL_REAL_DATA", HERE.parent.parent / "shared/data"))
    cases = {
        "coco-sized": (folder / "annotations.json", folder),
        "fruits_nuts": (real / "fruits_nuts/trainval.json", real / "fruits_nuts/images"),
    }
    for name, (annotations, images) in cases.items():
        if annotations.exists():
            result = measure(name, annotations, images, folder, options)
            print(json.dumps(result), flush=True)
            for key, most in MOST_DIFFERENCE.items():
                if not result["difference"][key] <= most:  # nor if it is no number
                    sys.exit(f"{name}: pixels differ by {result['difference'][key]}/255 ({key}), allowed are {most}")


if __name__ == "__main__":
    main()
