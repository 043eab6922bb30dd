"""Golden numbers of torch.optim's SGD and AdamW: src/train/testdata/optimizer.safetensors.

Ten steps over one convolution weight with weight decay and one bias without, with gradients that are
stored beside the results. Run: ./run reference, or python reference/optimizer_goldens.py
"""
import json
import pathlib

import torch
from golden_file import save_golden

SEED, STEPS = 7, 10
RATES = [0.01 * (1 + step) for step in range(STEPS)]


def run(name, make):
    torch.manual_seed(SEED)
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    bias = torch.randn(5, requires_grad=True)
    optimizer = make([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}])
    tensors = {f"{name}.weight.start": weight.detach().clone(), f"{name}.bias.start": bias.detach().clone()}
    for step, rate in enumerate(RATES):
        weight.grad, bias.grad = torch.randn_like(weight), torch.randn_like(bias)
        tensors[f"{name}.weight.grad.{step}"] = weight.grad.clone()
        tensors[f"{name}.bias.grad.{step}"] = bias.grad.clone()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        tensors[f"{name}.weight.{step}"] = weight.detach().clone()
        tensors[f"{name}.bias.{step}"] = bias.detach().clone()
    return tensors


def main():
    tensors = run("sgd", lambda groups: torch.optim.SGD(groups, lr=1, momentum=0.9, weight_decay=0.05))
    tensors |= run("adamw", lambda groups: torch.optim.AdamW(groups, lr=1, weight_decay=0.05))
    out = pathlib.Path(__file__).parent.parent / "src/train/testdata/optimizer.safetensors"
    out.parent.mkdir(exist_ok=True)
    save_golden(tensors, out, metadata={"made_by": "reference/optimizer_goldens.py", "seed": str(SEED),
                                        "rates": json.dumps(RATES), "torch": torch.__version__})


if __name__ == "__main__":
    main()
