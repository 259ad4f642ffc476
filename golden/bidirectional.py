#!/usr/bin/env python3
"""Golden numbers: a bidirectional layer of PyTorch's nn.LSTM and nn.GRU, with outputs, states and gradients.

    python golden/bidirectional.py        # needs torch and safetensors

Writes golden/bidirectional.safetensors. Parameters have PyTorch's names, every tensor is called `<cell>/<name>`; the loss is the mean
square of the outputs.
"""
import pathlib
import torch
from safetensors.torch import save_file

INPUTS, HIDDEN, TIME, BATCH = 5, 7, 6, 3


def main():
    tensors = {}
    for name, cell in {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.items():
        torch.manual_seed(2026)
        layer = cell(INPUTS, HIDDEN, bidirectional=True)
        x = torch.randn(TIME, BATCH, INPUTS, requires_grad=True)
        first = [torch.randn(2, BATCH, HIDDEN) for _ in ("hc" if name == "lstm" else "h")]
        y, last = layer(x, tuple(first) if name == "lstm" else first[0])
        last = last if name == "lstm" else (last,)
        y.square().mean().backward()
        found = {"x": x.detach(), "y": y.detach(), "gradient/x": x.grad}
        for key, parameter in layer.named_parameters():
            found |= {f"rnn.{key}": parameter.detach(), f"gradient/rnn.{key}": parameter.grad}
        for when, states in {"first": first, "last": last}.items():
            for part, state in zip("hc", states):
                for direction, values in enumerate(state):
                    found[f"{when}/{part}_{direction}"] = values.detach()
        tensors |= {f"{name}/{key}": value.clone().contiguous() for key, value in found.items()}
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    save_file(tensors, path, metadata={"torch": torch.__version__, "program": pathlib.Path(__file__).name})


main()
