"""Makes src/ops/testdata/ops.txt: what torchvision's detection operations give on small cases.

    .venv-peers/bin/python reference/ops_goldens.py

One tensor a line: name, "f" or "i", number of dimensions, shape, values (9 digits, enough for float32).
"""

import pathlib

import torch
import torchvision
from torchvision.models.detection import _utils
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import box_iou, nms, roi_align
from torchvision.ops.poolers import LevelMapper

OUT = pathlib.Path(__file__).parent.parent / "src/ops/testdata/ops.txt"
SEED = 20260101
tensors = {}


def boxes(count, width, height, smallest=2.0, margin=0.0):
    centre = torch.rand(count, 2) * torch.tensor([width + 2 * margin, height + 2 * margin]) - margin
    half = (smallest + torch.rand(count, 2) ** 2 * torch.tensor([width, height])) / 2
    return torch.cat([centre - half, centre + half], 1)


def runs(bitmap):
    """Column-major runs, zeros first."""
    flat = bitmap.t().flatten().to(torch.int8)
    edges = (flat.diff() != 0).nonzero()[:, 0] + 1
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), edges, torch.tensor([flat.numel()])])
    counts = ends.diff()
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts]) if flat[0] else counts


def roi_align_cases():
    sizes, scales = [(12, 16), (6, 8)], [1 / 4, 1 / 8]
    for level, size in enumerate(sizes):
        tensors[f"roi_align/feature{level}"] = torch.randn(2, 3, *size)
    rois = torch.cat([torch.randint(0, 2, (12, 1)).float(), boxes(12, 64, 48, margin=8)], 1)
    rois[10, 1:] = torch.tensor([10.0, 10.0, 10.1, 10.05])
    rois[11, 1:] = torch.tensor([-200.0, -200.0, -150.0, -160.0])
    levels = torch.randint(0, 2, (12,))
    tensors["roi_align/rois"], tensors["roi_align/levels"] = rois, levels
    gradient = torch.randn(12, 3, 4, 4)
    tensors["roi_align/gradient"] = gradient
    for name, ratio, aligned in [("two", 2, False), ("adaptive", -1, False), ("aligned", 2, True)]:
        features = [tensors[f"roi_align/feature{i}"].clone().requires_grad_() for i in range(2)]
        out = torch.zeros(12, 3, 4, 4)
        for i, feature in enumerate(features):
            at = (levels == i).nonzero()[:, 0]
            out[at] = roi_align(feature, rois[at], (4, 4), scales[i], ratio, aligned)
        out.backward(gradient)
        tensors[f"roi_align/{name}"] = out.detach()
        for i, feature in enumerate(features):
            tensors[f"roi_align/{name}/gradient{i}"] = feature.grad


def box_cases():
    given = torch.cat([boxes(150, 900, 700), torch.tensor([[0, 0, 224, 224], [0, 0, 112, 112.0]])])
    tensors["levels/boxes"] = given
    tensors["levels/expected"] = LevelMapper(2, 5)([given])
    proposals, reference = boxes(60, 200, 100), boxes(60, 200, 100)
    tensors["coder/proposals"], tensors["coder/reference"] = proposals, reference
    deltas = torch.randn(60, 12) * 3
    tensors["coder/deltas"] = deltas
    for name, weights in [("plain", (1.0, 1.0, 1.0, 1.0)), ("scaled", (10.0, 10.0, 5.0, 5.0))]:
        coder = _utils.BoxCoder(weights)
        tensors[f"coder/{name}/encoded"] = coder.encode([reference], [proposals])[0]
        tensors[f"coder/{name}/decoded"] = coder.decode(deltas, [proposals])


def nms_case():
    given = boxes(300, 120, 90, smallest=8).round()
    scores = (torch.rand(300) * 40).round() / 40
    groups = torch.randint(0, 4, (300,))
    tensors["nms/boxes"], tensors["nms/scores"], tensors["nms/groups"] = given, scores, groups
    for threshold in (0.3, 0.5, 0.7):
        keep = torch.zeros(300, dtype=torch.bool)
        for group in groups.unique():
            at = (groups == group).nonzero()[:, 0]
            keep[at[nms(given[at], scores[at], threshold)]] = True
        kept = keep.nonzero()[:, 0]
        order = scores[kept].sort(descending=True, stable=True)[1]
        tensors[f"nms/{threshold}"] = kept[order]


def match_cases():
    truth, candidates = boxes(12, 100, 80, smallest=6).round(), boxes(400, 100, 80, smallest=6).round()
    tensors["match/truth"], tensors["match/candidates"] = truth, candidates
    iou = box_iou(truth, candidates)
    tensors["match/rpn"] = _utils.Matcher(0.7, 0.3, True)(iou)
    tensors["match/heads"] = _utils.Matcher(0.5, 0.5, False)(iou)
    far = torch.cat([truth, torch.tensor([[500.0, 500.0, 510.0, 520.0]])])
    tensors["match/far"] = _utils.Matcher(0.7, 0.3, True)(box_iou(far, candidates))


def mask_cases():
    height, width, count = 40, 52, 3
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    bitmaps = torch.stack([(x - 20) ** 2 + (y - 18) ** 2 < 200, torch.rand(height, width) < 0.5, x + y > 30])
    all_runs = [runs(bitmap) for bitmap in bitmaps]
    tensors["targets/counts"] = torch.cat(all_runs)
    tensors["targets/offsets"] = torch.tensor([0] + [len(r) for r in all_runs]).cumsum(0)
    given, index = boxes(16, width, height, margin=3), torch.randint(0, count, (16,))
    tensors["targets/boxes"], tensors["targets/index"] = given, index
    rois = torch.cat([index[:, None].float(), given], 1)
    tensors["targets/expected"] = roi_align(bitmaps.float()[:, None], rois, (14, 14), 1.0)[:, 0]

    smooth = torch.nn.functional.interpolate(torch.rand(14, 1, 4, 4), (14, 14), mode="bicubic")
    masks = torch.cat([smooth.clamp(0, 1)[:, 0], (torch.rand(2, 14, 14) < 0.5).float()])
    given = torch.cat([boxes(14, 72, 56, margin=4), torch.tensor([[3.2, 4.7, 3.9, 5.1], [-20, -9, 90, 70.5]])])
    tensors["paste/masks"], tensors["paste/boxes"] = masks, given
    pasted = paste_masks_in_image(masks[:, None], given, (56, 72), padding=1)[:, 0] > 0.5
    all_runs = [runs(bitmap) for bitmap in pasted]
    tensors["paste/counts"] = torch.cat(all_runs)
    tensors["paste/offsets"] = torch.tensor([0] + [len(r) for r in all_runs]).cumsum(0)


def main():
    torch.manual_seed(SEED)
    for make in (roi_align_cases, box_cases, nms_case, match_cases, mask_cases):
        make()
    lines = [f"# reference/ops_goldens.py, seed {SEED}, torch {torch.__version__}, torchvision {torchvision.__version__}"]
    for name, tensor in tensors.items():
        kind = "f" if tensor.is_floating_point() else "i"
        values = " ".join(f"{v:.9g}" for v in tensor.flatten().tolist())
        lines.append(f"{name} {kind} {tensor.dim()} {' '.join(map(str, tensor.shape))} {values}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("\n".join(lines) + "\n")
    print(f"{OUT}: {len(tensors)} tensors, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
