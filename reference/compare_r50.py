"""Atoll against torchvision at full size: r50_fpn, 91 classes, one state dict, two pictures of 320 x 480 and 320 x 544.

    .venv-peers/bin/python reference/compare_r50.py [stages|own|steps ...] [--build build/release] [--threads N]

stages  keyed weights at the scale of trained ones, frozen norms: maps, proposals, detections, losses, gradients; these
        also against torchvision in float64
own     the state dict of torchvision's maskrcnn_resnet50_fpn(weights=None), unchanged, loaded into a model with batch
        norm and into one with frozen norms (num_batches_tracked is then surplus): losses, gradients
steps   ten steps of torchvision's with a rate that changes the weights (RATES); Atoll gets the state dict before each
        of them and must find its losses and gradients

Gradients are held against torchvision that rounds where Atoll does. An activation that is nearly zero falls on this or
that side of a ReLU by rounding, and a gradient then flows or not. So torchvision works in channels-last, as Atoll does
(with batch norm and random weights, torchvision in one memory format is 0.14 away from torchvision in the other in a
gradient, and 2e-4 in a loss), and with its frozen norms folded into the convolutions, as Atoll folds them (against
unfolded ones: 1.1e-3 in the worst gradient of `stages`, 3.1e-3 in `steps`). So compared, Atoll is 1e-6 away with frozen
norms and 1.3e-5 with batch norm. That folding costs no accuracy is shown by torchvision in float64: Atoll's worst
gradient is 1.09e-3 away from it, unfolded torchvision's 1.09e-3 in the contiguous format, 4e-4 in channels-last.

One JSON line a comparison; ends with 1 if a value is outside its bounds (BOUNDS, LEAST_FOUND, FARTHER_FROM_TRUTH).
Differences are relative: of a map the largest to the largest value, of a gradient in the norm, for the worst parameter.
"""

import argparse
import copy
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from keyed_random import install_samplers
from lifelike_weights import make_lifelike
from mask_rcnn_goldens import evaluate, in_order, train_losses
from safetensors.torch import load_file, save_file
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d
from torchvision_model import build_torchvision_model

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bench"))
from compare import image_list, picture  # noqa: E402

SIZES, OBJECTS = [(320, 480), (320, 544)], 7
RATES = {"frozen_batch_norm": 1e-3, "batch_norm": 1e-3}
STEPS, MOMENTUM = 10, 0.9
# Proposals with nearly the same score may change places by rounding, and one of two may then suppress the other.
# A sample drawn by place would be another one, so the losses are of all proposals, and of few enough that it is rare.
ALL_OF_FEW = {"rpn_pre_nms_top_n_train": 400, "rpn_post_nms_top_n_train": 300, "box_batch_per_image": 1200}
SAME_BOX_PX = 0.01
BOUNDS = {
    "feature": 1e-4,
    "objectness": 1e-4,
    "deltas": 1e-4,
    "losses": 1e-4,
    "gradient": 1e-4,
    "proposal_px": SAME_BOX_PX,
    "detection_px": SAME_BOX_PX,
    "score": 1e-4,
    "mask": 1e-4,
}
LEAST_FOUND = {"proposals": 0.998, "detections": 0.99}  # not all: see ALL_OF_FEW
FARTHER_FROM_TRUTH = 2.0  # Atoll's worst gradient against that of float32 torchvision, both from float64 torchvision


class Case:
    def __init__(self, options, name, **overrides):
        self.folder = Path(options.build) / "reference-data" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program = f"{options.build}/bench/model_stages"
        self.threads = options.threads
        printed = subprocess.run(
            [f"{options.build}/bench/model_bench", "--print-config", "r50_fpn"], check=True, capture_output=True
        )
        self.config = json.loads(printed.stdout) | {"min_size_px": 320, "max_size_px": 544} | ALL_OF_FEW | overrides
        (self.folder / "config.json").write_text(json.dumps(self.config))
        self.moment = {"seed": 0, "step": 0, "image_ids": list(range(len(SIZES)))}
        self.make_inputs()

    def make_inputs(self):
        generator = np.random.default_rng(1)
        tensors, self.targets, pictures = {}, [], []
        for i, (height, width) in enumerate(SIZES):
            values = picture(generator, height, width, OBJECTS, self.config["num_classes"])
            image, boxes, labels, masks = (torch.from_numpy(np.ascontiguousarray(v)) for v in values)
            self.targets.append({"boxes": boxes, "labels": labels, "masks": masks})
            tensors[f"{i}.image"] = image
            tensors |= {f"{i}.{name}": value for name, value in self.targets[-1].items()}
            pictures.append(image)
        self.images = image_list(pictures, self.config)
        save_file(tensors, self.folder / "inputs.safetensors")

    def atoll(self, what, state, step=0):
        """The stages that Atoll finds with this state dict."""
        weights = self.folder / "weights.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights)
        out = self.folder / "stages.safetensors"
        arguments = ["--inputs", self.folder / "inputs.safetensors", "--weights", weights]
        arguments += ["--config", self.folder / "config.json", "--out", out]
        arguments += ["--threads", self.threads, "--step", step]
        subprocess.run([self.program, what, *map(str, arguments)], check=True)
        return load_file(out)

    def torchvision_gradients(self, model, memory_format=torch.channels_last):
        """(losses, gradients) in the model's precision."""
        model.to(memory_format=memory_format).train()
        model.zero_grad()
        dtype = next(model.parameters()).dtype
        images = ImageList(self.images.tensors.to(dtype, memory_format=memory_format), self.images.image_sizes)
        targets = [target | {"boxes": target["boxes"].to(dtype)} for target in self.targets]
        losses = train_losses(model, images, targets)
        sum(losses.values()).backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        return torch.tensor(in_order(losses)), gradients


def folded(model):
    """A copy with the frozen norms inside the convolutions, sharing the parameters; without such norms itself."""
    if not any(isinstance(module, FrozenBatchNorm2d) for module in model.modules()):
        return model
    shared = {id(parameter): parameter for parameter in model.parameters()}
    model = copy.deepcopy(model, shared)
    for block in list(model.modules()):
        children = list(block.named_children())
        for (_, conv), (name, norm) in zip(children, children[1:]):
            if not isinstance(norm, FrozenBatchNorm2d):
                continue
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            shift = norm.bias - norm.running_mean * scale
            conv.forward = partial(convolve_scaled, conv, scale.view(-1, 1, 1, 1), shift)
            setattr(block, name, torch.nn.Identity())
    return model


def convolve_scaled(conv, scale, shift, x):
    return conv._conv_forward(x, conv.weight * scale, shift)


def lifelike_model(case):
    model = build_torchvision_model(case.config)
    make_lifelike(model, case.images)
    install_samplers(model, case.moment)
    return model


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def gradient_errors(ours, theirs):
    """(largest relative error of a loss, that of a gradient, its parameter) of (losses, gradients)."""
    if ours[1].keys() != theirs[1].keys():
        sys.exit(f"gradients of other parameters: {sorted(ours[1].keys() ^ theirs[1].keys())}")
    errors = {n: ((ours[1][n] - g).norm() / g.norm()).item() for n, g in theirs[1].items() if g.any()}
    worst = max(errors, key=errors.get)
    return ((ours[0] - theirs[0]).abs() / theirs[0]).max().item(), errors[worst], worst


def atoll_gradients(ours):
    return ours["losses"], {n.removeprefix("gradient."): g for n, g in ours.items() if n.startswith("gradient.")}


def compare_gradients(ours, losses, gradients):
    loss, gradient, worst = gradient_errors(atoll_gradients(ours), (losses, gradients))
    values = [round(value, 5) for value in losses.tolist()]
    return {"losses": loss, "gradient": gradient, "worst_gradient": worst, "loss_values": values}


def compare_with_truth(case, model, ours):
    """How far the worst gradient is from float64: Atoll's, and torchvision's own in both memory formats."""
    truth = case.torchvision_gradients(copy.deepcopy(model).double())
    formats = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    distance = {"atoll": gradient_errors(atoll_gradients(ours), truth)[1]}
    for name, memory_format in formats.items():
        # A copy: the gradients of the other format must not be overwritten, and the model stays as it is.
        theirs = case.torchvision_gradients(copy.deepcopy(model), memory_format)
        distance[name] = gradient_errors(theirs, truth)[1]
    return {f"from_truth_{name}": value for name, value in distance.items()}


def same_boxes(ours, theirs):
    """For each of theirs the row of ours that lies on it (-1: none), and the farthest corner of these, in pixels."""
    if not len(ours) or not len(theirs):
        return torch.full((len(theirs),), -1), 0.0
    distance = (theirs[:, None] - ours[None]).abs().amax(2)
    nearest, row = distance.min(1)
    found = nearest <= SAME_BOX_PX
    row[~found] = -1
    return row, nearest[found].max().item() if found.any() else 0.0


def compare_proposals(ours, theirs, result):
    total = found = in_place = 0
    farthest = 0.0
    for i in range(len(SIZES)):
        mine, wanted = ours[f"proposals.{i}"], theirs[f"proposals.{i}"]
        row, distance = same_boxes(mine, wanted)
        total, found = total + max(len(mine), len(wanted)), found + (row >= 0).sum().item()
        in_place += (row == torch.arange(len(row))).sum().item()
        farthest = max(farthest, distance)
    result |= {"proposals": total, "proposals_found": found, "proposals_in_place": in_place, "proposal_px": farthest}


def compare_detections(ours, theirs, result):
    total = found = 0
    farthest = score = mask = 0.0
    for i in range(len(SIZES)):
        mine, wanted = ({name: side[f"found.{i}.{name}"] for name in ("boxes", "scores", "labels", "masks")}
                        for side in (ours, theirs))
        total += max(len(mine["labels"]), len(wanted["labels"]))
        for label in wanted["labels"].unique():
            of_mine, of_wanted = (side["labels"] == label for side in (mine, wanted))
            row, distance = same_boxes(mine["boxes"][of_mine], wanted["boxes"][of_wanted])
            hit = row >= 0
            found, farthest = found + hit.sum().item(), max(farthest, distance)
            if not hit.any():
                continue
            pairs = [(mine[k][of_mine][row[hit]], wanted[k][of_wanted][hit]) for k in ("scores", "masks")]
            score = max(score, (pairs[0][0] - pairs[0][1]).abs().max().item())
            mask = max(mask, (pairs[1][0] - pairs[1][1]).abs().max().item())
    result |= {"detections": total, "detections_found": found, "detection_px": farthest, "score": score, "mask": mask}


def report(name, result):
    shown = {k: float(f"{v:.2e}") if isinstance(v, float) else v for k, v in result.items()}
    bad = [key for key, bound in BOUNDS.items() if key in result and not result[key] <= bound]
    for kind, share in LEAST_FOUND.items():
        if kind in result and not result[f"{kind}_found"] >= share * max(result[kind], 1):
            bad.append(kind)
    if "from_truth_atoll" in result:
        peers = max(result["from_truth_channels_last"], result["from_truth_contiguous"])
        if not result["from_truth_atoll"] <= FARTHER_FROM_TRUTH * peers:
            bad.append("from_truth_atoll")
    print(json.dumps({"compare": name} | shown | {"out_of_bounds": bad}), flush=True)
    return not bad


def stages(options):
    case = Case(options, "stages", norm="frozen_batch_norm")
    model = lifelike_model(case)
    ours, theirs, result = case.atoll("all", model.state_dict()), {}, {}
    evaluate(model, case.images, theirs)
    for kind in ("feature", "objectness", "deltas"):
        result[kind] = max(relative(ours[f"{kind}.{level}"], theirs[f"{kind}.{level}"]) for level in range(5))
    compare_proposals(ours, theirs, result)
    compare_detections(ours, theirs, result)
    result |= compare_gradients(ours, *case.torchvision_gradients(folded(model)))
    return report("stages", result | compare_with_truth(case, model, ours))


def own_model(case):
    torch.manual_seed(2)
    few = {"box_batch_size_per_image" if k == "box_batch_per_image" else k: v for k, v in ALL_OF_FEW.items()}
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **few)
    install_samplers(model, case.moment)
    return model


def own(options):
    case = Case(options, "own", norm="batch_norm", trainable_layers=5)
    model = own_model(case)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if not any(name.endswith("num_batches_tracked") for name in state):
        sys.exit("this state dict tests nothing: it has no num_batches_tracked")
    result = compare_gradients(case.atoll("gradients", state), *case.torchvision_gradients(model))
    good = report("own, batch norm", result)
    case = Case(options, "own_frozen", norm="frozen_batch_norm", trainable_layers=3)
    model = build_torchvision_model(case.config)
    model.load_state_dict(state)
    install_samplers(model, case.moment)
    result = compare_gradients(case.atoll("gradients", state), *case.torchvision_gradients(folded(model)))
    return report("own, frozen norms", result) and good


def steps(options):
    good = True
    for norm in options.norm or RATES:
        case = Case(options, f"steps_{norm}", norm=norm, trainable_layers=5)
        if norm == "batch_norm":
            model = own_model(case)
        else:
            model = lifelike_model(case)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=RATES[norm], momentum=MOMENTUM)
        for step in range(STEPS):
            case.moment["step"] = step
            ours = case.atoll("gradients", model.state_dict(), step)
            result = compare_gradients(ours, *case.torchvision_gradients(folded(model)))
            good = report(f"step {step}, {norm}", result) and good
            optimizer.step()
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    comparisons = {"stages": stages, "own": own, "steps": steps}
    parser.add_argument("what", nargs="*", help=f"some of {', '.join(comparisons)}; default: all")
    parser.add_argument("--build", default=str(HERE.parent / "build/release"))
    parser.add_argument("--norm", choices=RATES, action="append", help="of steps; default: both")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for name in options.what:
        if name not in comparisons:
            parser.error(f"there is no comparison '{name}'")
    torch.set_num_threads(options.threads)
    good = [comparisons[name](options) for name in options.what or comparisons]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
