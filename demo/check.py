"""The end of `./run demo`: prints the 12 COCO numbers of both kinds, and fails below what the demo promises."""

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


def main():
    out = Path(sys.argv[1])
    try:
        results = json.loads((out / "eval.json").read_text())
        stats = {kind: results[kind]["stats"] for kind in ("bbox", "segm")}
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"run: the demo left no usable {out / 'eval.json'}: {error!r}")
    print(f"{'on 200 unseen images':36}  bbox   segm")
    for name, bbox, segm in zip(NAMES, stats["bbox"], stats["segm"]):
        print(f"{name:36} {bbox:6.3f} {segm:6.3f}")
    print(f"pictures:        {out / 'pictures'}")
    print(f"weights:         {out / 'model.safetensors'}")
    print(f"everything else: {out}")
    if not stats["segm"][0] >= LEAST_SEGM_AP:
        sys.exit(f"run: segm AP {stats['segm'][0]:.3f} is below the {LEAST_SEGM_AP:.2f} that the demo promises")


if __name__ == "__main__":
    main()
