"""Steps of PyTorch's SGD, ASGD, Adam, AdamW and Muon, to compare `recurra-kernels/src/update` and `src/muon` with.

    python golden/optimizers.py > golden/optimizers.json

Values and gradients are multiples of 2**-10, so that JSON carries them exactly in both precisions. PyTorch's Muon multiplies
in bf16; the numbers kept here are those of its formulas in f64, after a check that the two agree as bf16 does.
"""

import json
import math
import platform

import torch

N_VALUES, N_STEPS = 7, 5

CASES = [
    ("sgd", {"lr": 0.5}),
    ("sgd", {"lr": 0.1, "weight_decay": 0.01}),
    ("sgd", {"lr": 0.1, "momentum": 0.9}),
    ("sgd", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("adamw", {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}),
    ("adamw", {"lr": 0.003, "betas": [0.0, 0.999], "eps": 1e-5, "weight_decay": 0.0}),
    ("adamw", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.3}),
    ("adam", {"lr": 0.01, "betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.2}),
    ("adam", {"lr": 0.003, "betas": [0.0, 0.999], "eps": 1e-8, "weight_decay": 0.05}),
    ("asgd", {"lr": 0.125, "lambd": 0.0, "t0": 0.0, "weight_decay": 0.0}),
    ("asgd", {"lr": 0.0625, "lambd": 0.0, "t0": 2.0, "weight_decay": 0.1}),
]

# Rows, columns, and the settings; the first is taller than wide.
MUON_CASES = [
    (6, 4, {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.95}),
    (4, 4, {"lr": 0.01, "weight_decay": 0.0, "momentum": 0.9}),
    (3, 8, {"lr": 0.05, "weight_decay": 0.01, "momentum": 0.0}),
]
A, B, C = 3.4445, -4.7750, 2.0315


def steps(kind, options, start, gradients, dtype):
    """The values after every step, and the averages of ASGD."""
    value = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
    optimizers = {"sgd": torch.optim.SGD, "asgd": torch.optim.ASGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimizer = optimizers[kind]([value], **options, foreach=False)
    history = {"values": []} | ({"averages": []} if kind == "asgd" else {})
    for gradient in gradients:
        value.grad = torch.tensor(gradient, dtype=dtype)
        optimizer.step()
        history["values"].append(value.detach().tolist())
        if kind == "asgd":
            history["averages"].append(optimizer.state[value]["ax"].tolist())
    return history


def orthogonalized(update):
    """Five Newton-Schulz iterations in the precision of `update`."""
    x = update.T if update.size(0) > update.size(1) else update
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.T if update.size(0) > update.size(1) else x


def muon_steps(options, start, gradients):
    """The values after every step, and what PyTorch's own class makes of them."""
    own = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Muon([own], **options, adjust_lr_fn="match_rms_adamw")
    value = torch.tensor(start, dtype=torch.float64)
    momentum = torch.zeros_like(value)
    history = []
    for gradient in gradients:
        own.grad = torch.tensor(gradient)
        optimizer.step()
        gradient = torch.tensor(gradient, dtype=torch.float64)
        momentum.lerp_(gradient, 1 - options["momentum"])
        update = orthogonalized(gradient.lerp(momentum, options["momentum"]))
        value.mul_(1 - options["lr"] * options["weight_decay"])
        value.sub_(options["lr"] * 0.2 * math.sqrt(max(value.shape)) * update)
        assert (own.double() - value).abs().max() < 0.02 * options["lr"] * (len(history) + 1), (own, value)
        history.append(value.tolist())
    return history


def main():
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randint(-2048, 2049, shape, generator=generator).div(1024).tolist()
    cases = []
    for kind, options in CASES:
        start, gradients = draw(N_VALUES), draw(N_STEPS, N_VALUES)
        case = {
            "kind": kind,
            "options": options,
            "start": start,
            "gradients": gradients,
            "f32": steps(kind, options, start, gradients, torch.float32),
            "f64": steps(kind, options, start, gradients, torch.float64),
        }
        if kind == "asgd":
            # By how much of its distance the average follows: PyTorch counts one step late, and keeps the share in f32.
            case["averaged"] = [torch.tensor(1 / max(1, step - options["t0"])).item() for step in range(N_STEPS)]
        cases.append(case)
    muon = []
    for rows, cols, options in MUON_CASES:
        start, gradients = draw(rows, cols), draw(3, rows, cols)
        values = muon_steps(options, start, gradients)
        muon.append({"options": options, "start": start, "gradients": gradients, "values": values})
    versions = {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}
    lines = lambda cases: ",\n".join(json.dumps(case) for case in cases)
    print(f'{{"program": "golden/optimizers.py", "versions": {json.dumps(versions)}, "cases": [')
    print(f'{lines(cases)}\n], "muon": [\n{lines(muon)}\n]}}')


main()
