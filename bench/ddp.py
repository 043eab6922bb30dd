"""`./run bench ddp`: a training step over 1, 2 and 4 ranks of this machine, Atoll against torchvision in Python's DDP.

The same torch, Gloo over the loopback, buckets of 25 MB, the same weights and pictures, cores / ranks threads (one at
least; one rank has as many as each of two) for each rank. Norms are frozen: batch norm over ranks exists in torch for GPUs only. Both sides work in turn,
A B A B; a time is that of the slowest rank. One JSON line a case and number of ranks: medians, the median of the
pairs' ratios with its range, the gradients' size, and of Atoll how long they were being summed and what share of that the
backward pass hid, which the trace of rank 0 shows (its file is in the line).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from compare import HERE, image_list, picture
from lifelike_weights import make_lifelike
from ranks import Ranks
from safetensors.torch import save_file
from torchvision_model import build_torchvision_model

# name -> preset, a rank's image sizes (height, width), objects an image, overrides of the configuration, pairs
CASES = {
    "tiny": ("tiny", [(128, 128)] * 4, 4, {"num_classes": 5, "norm": "frozen_batch_norm"}, 11),
    "r50_fpn": ("r50_fpn", [(160, 224)], 5, {"min_size_px": 160, "max_size_px": 224}, 5),
}


def prepare(case, ranks, folder, program):
    """The files that both sides read; the bytes of the gradients."""
    preset, sizes, objects, overrides, _ = CASES[case]
    printed = subprocess.run([program, "--print-config", preset], check=True, capture_output=True).stdout
    config = {**json.loads(printed), **overrides}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    generator = np.random.default_rng(1)
    tensors = {}
    for i, (height, width) in enumerate(sizes * ranks):
        values = picture(generator, height, width, objects, config["num_classes"])
        for name, value in zip(("image", "boxes", "labels", "masks"), values):
            tensors[f"{i}.{name}"] = torch.from_numpy(np.ascontiguousarray(value))
    save_file(tensors, folder / "inputs.safetensors")
    torch.manual_seed(1)
    model = build_torchvision_model(config)
    # Frozen norms of fresh weights would let the activations grow beyond all bounds.
    make_lifelike(model, image_list([tensors[f"{i}.image"] for i in range(len(sizes))], config))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "weights.safetensors")
    return sum(4 * p.numel() for p in model.parameters() if p.requires_grad)


def measure(case, ranks, options):
    folder = Path(options.build) / "bench-data" / f"ddp-{case}-{ranks}"
    gradient_bytes = prepare(case, ranks, folder, f"{options.build}/bench/model_bench")
    threads = options.threads or max(1, len(os.sched_getaffinity(0)) // max(2, ranks))
    arguments = [
        *("--inputs", str(folder / "inputs.safetensors")),
        *("--weights", str(folder / "weights.safetensors")),
        *("--config", str(folder / "config.json")),
        *("--threads", str(threads)),
    ]
    sides = {
        "atoll": Ranks([f"{options.build}/bench/ddp_bench", *arguments], ranks),
        "torch": Ranks([sys.executable, str(HERE / "ddp_peer.py"), *arguments], ranks),
    }
    seconds = {name: [] for name in sides}
    ours = []
    pairs = options.pairs or CASES[case][-1]
    for pair in range(pairs + 2):  # two to warm up
        for name, side in sides.items():
            answers = side.ask("run")
            if name == "atoll" and not all(answer["updated"] for answer in answers):
                sys.exit(f"{case}: a step was skipped: {answers}")
            if pair >= 2:
                seconds[name].append(max(answer["seconds"] for answer in answers))
                if name == "atoll":
                    ours.append(answers[0])
    sides["atoll"].ask(f"trace {folder}")
    ratios = [a / b for a, b in zip(seconds["atoll"], seconds["torch"])]
    line = {
        "bench": "ddp",
        "case": case,
        "ranks": ranks,
        "threads": threads,
        "pairs": pairs,
        "gradient_mb": round(gradient_bytes / 1e6, 1),
        "atoll_s": round(statistics.median(seconds["atoll"]), 4),
        "torch_s": round(statistics.median(seconds["torch"]), 4),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "sum_s": round(statistics.median(answer["sum_s"] for answer in ours), 4),
        "hidden": round(statistics.median(answer["hidden"] for answer in ours), 3),
        "trace": str(folder / "trace-0.json"),
    }
    print(json.dumps(line), flush=True)
    for side in sides.values():
        side.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--ranks", type=int, action="append", help="(default: 1, 2 and 4)")
    parser.add_argument("--threads", type=int, help="of each rank")
    parser.add_argument("--pairs", type=int, help="measured pairs (default: 11 for tiny, 5 for r50_fpn)")
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    options = parser.parse_args()
    for ranks in options.ranks or [1, 2, 4]:
        for case in options.case or CASES:
            measure(case, ranks, options)


if __name__ == "__main__":
    main()
