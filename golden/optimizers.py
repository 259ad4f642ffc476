"""Steps of PyTorch's SGD and AdamW, to compare `recurra-kernels/src/update` with.

    python golden/optimizers.py > golden/optimizers.json

Values and gradients are multiples of 2**-10, so that JSON carries them exactly in both precisions.
"""

import json
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
]


def steps(kind, options, start, gradients, dtype):
    """The values after every step."""
    value = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
    make = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[kind]
    optimizer = make([value], **options, foreach=False)
    history = []
    for gradient in gradients:
        value.grad = torch.tensor(gradient, dtype=dtype)
        optimizer.step()
        history.append(value.detach().tolist())
    return history


def main():
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randint(-2048, 2049, shape, generator=generator).div(1024).tolist()
    cases = []
    for kind, options in CASES:
        start, gradients = draw(N_VALUES), draw(N_STEPS, N_VALUES)
        cases.append({
            "kind": kind,
            "options": options,
            "start": start,
            "gradients": gradients,
            "f32": steps(kind, options, start, gradients, torch.float32),
            "f64": steps(kind, options, start, gradients, torch.float64),
        })
    versions = {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]}
    lines = ",\n".join(json.dumps(case) for case in cases)
    print(f'{{"program": "golden/optimizers.py", "versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}')


main()
