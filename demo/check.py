"""The end of `./run demo`: prints the 12 COCO numbers of both kinds, and fails below what the demo promises, or where
something that README.md names is not in its folder: one line for each.
"""

import json
import sys
from pathlib import Path

LEAST_SEGM_AP = 0.60
NAMES = [
    "AP         IoU 0.50:0.95",
    "AP50       IoU 0.50",
    "AP75       IoU 0.75",
    "AP small   area < 32²",
    "AP medium  32² to 96²",
    "AP large   area > 96²",
    "AR1        1 detection an image",
    "AR10       10 detections an image",
    "AR100      100 detections an image",
    "AR small",
    "AR medium",
    "AR large",
]

LEFT = {  # files, of which one at least is there and not empty
    "config.toml": "every effective value",
    "metrics.jsonl": "losses, rate and speed by step",
    "events.out.tfevents.*": "TensorBoard's events",
    "model.safetensors": "the weights",
    "checkpoints/step-*.manifest.json": "a whole checkpoint",
    "checkpoints/step-*.safetensors": "its tensors",
    "predictions.json": "the evaluation's detections",
    "pictures/*.jpg": "validation pictures with masks",
    "trace.json": "where the time went",
    "predicted/predictions.json": "what predict found",
    "predicted/pictures/*.jpg": "the same, drawn",
}


def is_left(out, pattern):
    return any(path.is_file() and path.stat().st_size > 0 for path in out.glob(pattern))


def faults_of(out):
    for pattern, what in LEFT.items():
        if not is_left(out, pattern):
            yield f"the demo left no {out / pattern}: {what}"
    if is_left(out, "trace.json"):
        try:
            json.loads((out / "trace.json").read_bytes())
        except ValueError as error:
            yield f"{out / 'trace.json'} is no JSON: {error}"


def show(out, stats):
    print(f"{'on 200 unseen images':36}  bbox   segm")
    for name, bbox, segm in zip(NAMES, stats["bbox"], stats["segm"]):
        print(f"{name:36} {bbox:6.3f} {segm:6.3f}")
    print(f"pictures:        {out / 'pictures'}")
    print(f"weights:         {out / 'model.safetensors'}")
    print(f"everything else: {out}")


def main():
    out = Path(sys.argv[1])
    faults = list(faults_of(out))
    try:
        results = json.loads((out / "eval.json").read_text())
        stats = {kind: results[kind]["stats"] for kind in ("bbox", "segm")}
    except (OSError, ValueError, KeyError) as error:
        faults.append(f"the demo left no usable {out / 'eval.json'}: {error!r}")
    else:
        show(out, stats)
        segm_ap = stats["segm"][0]
        if not segm_ap >= LEAST_SEGM_AP:
            faults.append(f"segm AP {segm_ap:.3f} is below the {LEAST_SEGM_AP:.2f} that the demo promises")
    for fault in faults:
        print(f"run: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
