"""Makes reference/goldens/mask_rcnn_*.safetensors: what torchvision's Mask R-CNN gives on small networks.

    .venv-peers/bin/python reference/mask_rcnn_goldens.py

The weights are keyed random numbers that src/model/mask_rcnn_parity_test.cpp draws again, so only inputs and
results are stored. Names in the files:

    pixels (N, 3, H, W) u8, value = (u8 - 128) / 64, 128 in the padding; sizes (N, 2)
    target.I.{boxes, labels, counts, offsets}        masks as column-major runs, zeros first
    feature.L, objectness.L, deltas.L, proposals.I   evaluation mode
    found.I.{boxes, scores, labels, masks}
    losses (1, 5)            in the order of LOSSES, with sampled anchors and boxes
    gradients (P, 2)         of their total, by parameter: norm, dot with a keyed random vector
    curve (10, 5)            the losses of ten SGD steps under CURVE's settings

mask_rcnn_steps.safetensors has ten steps at a rate that changes a network with batch norm, on the pictures of
mask_rcnn_basic: `parameters` (11, P), all of them in order before each step and after the last, and `curve`. A reader
takes each step from where torchvision stood, so that what rounding does to a step is not carried to the next.

CURVE takes every proposal instead of a sample: two proposals with nearly the same score may change places
after a few steps of rounding, and a sample drawn by place would then be another one, on either side.
"""

import json
from pathlib import Path

import torch
import torchvision
from golden_file import save_golden
from keyed_random import hash_name, install_samplers, uniform
from torchvision.models.detection.image_list import ImageList
from torchvision_model import build_torchvision_model

GOLDENS = Path(__file__).parent / "goldens"
LOSSES = ["loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"]
SEED = 20260301
STEPS, MOMENTUM = 10, 0.9
# With frozen norms torchvision differs from itself by 4e-6 over the ten steps when only its memory format changes. With
# batch norm it does by 0.67 at 1e-3 and by 1.05e-3 at 1e-5, so no bound of 1e-3 could be held against it but at 1e-6.
RATES = {"batch_norm": 1e-6, "frozen_batch_norm": 1e-3}
IMAGE_IDS = [0, 4711]
CURVE = {"box_batch_per_image": 4000, "rpn_post_nms_top_n_train": 2000}

SHARED = {
    "num_classes": 5,
    "norm_eps": 1e-5,
    "trainable_layers": 5,
    "fpn_channels": 16,
    "image_mean": [0.0, 0.0, 0.0],
    "image_std": [1.0, 1.0, 1.0],
    "min_size_px": 128,
    "max_size_px": 160,
    "anchor_sizes_px": [8, 16, 32, 64, 128],
    "anchor_ratios": [0.5, 1.0, 2.0],
    "rpn_convs": 1,
    "rpn_pre_nms_top_n_train": 150,
    "rpn_pre_nms_top_n_test": 120,
    "rpn_post_nms_top_n_train": 120,
    "rpn_post_nms_top_n_test": 60,
    "rpn_nms_threshold": 0.7,
    "rpn_fg_iou": 0.7,
    "rpn_bg_iou": 0.3,
    "rpn_batch_per_image": 64,
    "rpn_positive_fraction": 0.5,
    "rpn_score_threshold": 0.0,
    "rpn_min_size_px": 1e-3,
    "box_pool_size": 7,
    "box_pool_sampling": 2,
    "box_head_channels": 32,
    "box_fg_iou": 0.5,
    "box_bg_iou": 0.5,
    "box_batch_per_image": 48,
    "box_positive_fraction": 0.25,
    "box_weights": [10.0, 10.0, 5.0, 5.0],
    "box_score_threshold": 0.3,
    "box_nms_threshold": 0.5,
    "box_min_size_px": 1e-2,
    "detections_per_image": 12,
    "mask_pool_size": 14,
    "mask_pool_sampling": 2,
    "mask_conv_channels": [16, 16],
    "mask_deconv_channels": 16,
}
MODELS = {
    "basic": SHARED | {"backbone_depth": 18, "stem_width": 8, "norm": "batch_norm"},
    "bottleneck": SHARED
    | {"backbone_depth": 50, "stem_width": 4, "norm": "frozen_batch_norm", "trainable_layers": 3},
    "two_convs": SHARED
    | {"backbone_depth": 18, "stem_width": 4, "norm": "frozen_batch_norm", "rpn_convs": 2},
}
# Small, because its parameters are stored eleven times. The seed is one of fifty for whose weights few activations lie
# so near to zero that rounding decides on which side of a ReLU: torchvision differs from itself (channels-last against
# contiguous) by 2e-4 in a step's gradient, 2e-2 in that of one parameter; with most other seeds by a hundred times as
# much.
STEPS_MODEL = SHARED | CURVE | {
    "backbone_depth": 18,
    "stem_width": 2,
    "norm": "batch_norm",
    "fpn_channels": 8,
    "box_head_channels": 8,
    "mask_conv_channels": [8],
    "mask_deconv_channels": 8,
}
STEPS_SEED, STEPS_RATE = 37, 1e-3
# Random weights that leave something to find: confident classes, boxes that stay near their anchors.
SCALES = {
    "rpn.head.bbox_pred.weight": 0.1,
    "roi_heads.box_predictor.bbox_pred.weight": 0.5,
    "roi_heads.box_predictor.cls_score.weight": 3.0,
}


def fill_weights(model, seed=SEED):
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith("running_var"):
                low, high = 0.5, 1.5
            elif name.endswith(".weight") and tensor.dim() == 1:
                low, high = 0.5, 1.0  # so that sixteen residual blocks do not explode
            elif tensor.dim() == 1:
                low, high = -0.1, 0.1
            else:
                fan_in = tensor.numel() // tensor.shape[0]
                high = (6.0 / fan_in) ** 0.5 * SCALES.get(name, 1.0)
                low = -high
            values = uniform([seed, hash_name(name)], tensor.numel(), low, high)
            tensor.copy_(torch.from_numpy(values).view(tensor.shape))


def runs(bitmap):
    flat = bitmap.t().flatten()
    edges = (flat[1:] != flat[:-1]).nonzero()[:, 0] + 1
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), edges, torch.tensor([flat.numel()])])
    lengths = ends.diff()
    return torch.cat([torch.zeros(1, dtype=torch.int64), lengths]) if flat[0] else lengths


def make_target(generator, size, count):
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    masks, boxes = [], []
    for _ in range(count):
        centre = torch.rand(2, generator=generator) * torch.tensor([height, width])
        radius = 8 + torch.rand(2, generator=generator) * torch.tensor([height, width]) / 3
        mask = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 <= 1
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        masks.append(mask)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.randint(1, SHARED["num_classes"], (count,), generator=generator),
        "masks": torch.stack(masks) if masks else torch.zeros(0, height, width, dtype=torch.bool),
    }


def make_inputs():
    generator = torch.Generator().manual_seed(SEED)
    sizes = [(96, 160), (128, 117)]
    targets = [make_target(generator, sizes[0], 5), make_target(generator, sizes[1], 0)]
    pixels = torch.full((2, 3, 128, 160), 128, dtype=torch.uint8)
    for i, (height, width) in enumerate(sizes):
        coarse = torch.rand(1, 3, 12, 12, generator=generator) * 200
        smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
        noise = torch.rand(3, height, width, generator=generator) * 55
        pixels[i, :, :height, :width] = (smooth + noise).round().to(torch.uint8)
    return pixels, sizes, targets


def stages(model, images):
    features = model.backbone(images.tensors)
    return features, model.rpn.head(list(features.values()))


def evaluate(model, images, out):
    model.eval()
    with torch.no_grad():
        features, (objectness, deltas) = stages(model, images)
        for level, maps in enumerate(zip(features.values(), objectness, deltas)):
            for name, tensor in zip(("feature", "objectness", "deltas"), maps):
                out[f"{name}.{level}"] = tensor
        proposals, _ = model.rpn(images, features)
        found, _ = model.roi_heads(features, proposals, images.image_sizes)
    for i, detections in enumerate(found):
        out[f"proposals.{i}"] = proposals[i]
        for name in ("boxes", "scores", "labels"):
            out[f"found.{i}.{name}"] = detections[name]
        out[f"found.{i}.masks"] = detections["masks"][:, 0]


def gradient_summary(model):
    rows = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        gradient = parameter.grad.double()
        key = [SEED, hash_name(name), 1]
        vector = torch.from_numpy(uniform(key, gradient.numel(), -1, 1)).view(gradient.shape)
        rows.append([gradient.norm(), (gradient * vector).sum()])
    return torch.tensor(rows, dtype=torch.float64)


def train_losses(model, images, targets):
    features = model.backbone(images.tensors)
    proposals, first = model.rpn(images, features, targets)
    _, second = model.roi_heads(features, proposals, images.image_sizes, targets)
    return first | second


def in_order(losses):
    return [losses[name].item() for name in LOSSES]


def first_step(model, images, targets, out):
    model.train()
    losses = train_losses(model, images, targets)
    sum(losses.values()).backward()
    out["losses"] = torch.tensor([in_order(losses)], dtype=torch.float64)
    out["gradients"] = gradient_summary(model)


def flat_parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train(model, images, targets, moment, rate, out):
    """Adds the losses of ten steps to `out`, and returns the parameters before each and after the last."""
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM)
    curve, states = [], [flat_parameters(model)]
    for step in range(STEPS):
        moment["step"] = step
        losses = train_losses(model, images, targets)
        curve.append(in_order(losses))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        states.append(flat_parameters(model))
    out["curve"] = torch.tensor(curve, dtype=torch.float64)
    return torch.stack(states)


def make_model(config, moment):
    model = build_torchvision_model(config)
    fill_weights(model, moment["seed"])
    install_samplers(model, moment)
    return model


def make_golden(name, config):
    pixels, sizes, targets = make_inputs()
    moment = {"seed": SEED, "step": 0, "image_ids": IMAGE_IDS}
    model = make_model(config, moment)
    images = ImageList((pixels.float() - 128) / 64, sizes)
    out = {"pixels": pixels, "sizes": torch.tensor(sizes)}
    for i, target in enumerate(targets):
        lengths = [runs(mask) for mask in target["masks"]]
        out[f"target.{i}.boxes"] = target["boxes"]
        out[f"target.{i}.labels"] = target["labels"]
        empty = torch.zeros(0, dtype=torch.int64)
        out[f"target.{i}.counts"] = torch.cat([empty] + lengths).to(torch.int32)
        out[f"target.{i}.offsets"] = torch.tensor([0] + [len(r) for r in lengths]).cumsum(0)
    evaluate(model, images, out)
    first_step(model, images, targets, out)
    rate = RATES[config["norm"]]
    train(make_model(config | CURVE, moment), images, targets, moment, rate, out)
    path = save(name, out, {"config": config, "curve config": config | CURVE}, SEED, rate)
    found = [len(out[f"found.{i}.boxes"]) for i in range(2)]
    print(f"{path.name}: {path.stat().st_size} bytes, detections {found}")
    print("  losses", out["curve"][0].tolist(), "->", out["curve"][-1].tolist())


def make_steps_golden():
    pixels, sizes, targets = make_inputs()
    moment = {"seed": STEPS_SEED, "step": 0, "image_ids": IMAGE_IDS}
    model = make_model(STEPS_MODEL, moment).to(memory_format=torch.channels_last)
    images = ((pixels.float() - 128) / 64).contiguous(memory_format=torch.channels_last)
    out = {}
    out["parameters"] = train(model, ImageList(images, sizes), targets, moment, STEPS_RATE, out)
    path = save("steps", out, {"config": STEPS_MODEL}, STEPS_SEED, STEPS_RATE)
    print(f"{path.name}: {path.stat().st_size} bytes")
    print("  losses", out["curve"].sum(1).tolist())


def save(name, tensors, configs, seed, rate):
    metadata = {key: json.dumps(config) for key, config in configs.items()} | {
        "seed": str(seed),
        "rate": str(rate),
        "made by": "reference/mask_rcnn_goldens.py",
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    path = GOLDENS / f"mask_rcnn_{name}.safetensors"
    save_golden({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    return path


def main():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    GOLDENS.mkdir(exist_ok=True)
    for name, config in MODELS.items():
        make_golden(name, config)
    make_steps_golden()


if __name__ == "__main__":
    main()
