#!/usr/bin/env python3
"""Golden numbers: small recurrent language models in PyTorch, with losses, logits, states and gradients.

    python golden/recurrent_language_models.py        # needs torch and safetensors

Writes golden/recurrent_language_models.safetensors. Every tensor is called `<cell>/<name>`; weights have the names, shapes
and gate order that `nn.RNN`, `nn.LSTM` and `nn.GRU` give them.
"""
import pathlib
import torch
from safetensors.torch import save_file

VOCAB, EMBED, HIDDEN, LAYERS, TIME, BATCH = 11, 5, 7, 2, 6, 3
CELLS = {
    "rnn-tanh": lambda: torch.nn.RNN(EMBED, HIDDEN, LAYERS, nonlinearity="tanh"),
    "rnn-relu": lambda: torch.nn.RNN(EMBED, HIDDEN, LAYERS, nonlinearity="relu"),
    "lstm": lambda: torch.nn.LSTM(EMBED, HIDDEN, LAYERS),
    "gru": lambda: torch.nn.GRU(EMBED, HIDDEN, LAYERS),
}


class Model(torch.nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCAB, EMBED)
        self.rnn = rnn
        self.output = torch.nn.Linear(HIDDEN, VOCAB)

    def forward(self, ids, state):
        hidden, state = self.rnn(self.embedding(ids), state)
        return self.output(hidden), state


def main():
    tensors = {}
    for cell, build in CELLS.items():
        torch.manual_seed(2026)
        model = Model(build())
        inputs = torch.randint(0, VOCAB, (TIME, BATCH))
        targets = torch.randint(0, VOCAB, (TIME, BATCH))
        first = [torch.randn(LAYERS, BATCH, HIDDEN) for _ in range(2 if cell == "lstm" else 1)]
        logits, last = model(inputs, tuple(first) if cell == "lstm" else first[0])
        loss = torch.nn.functional.cross_entropy(logits.view(-1, VOCAB), targets.view(-1))
        loss.backward()
        last = list(last) if cell == "lstm" else [last]
        tensors |= {f"{cell}/{name}": value.detach() for name, value in model.named_parameters()}
        tensors |= {f"{cell}/gradient/{name}": value.grad for name, value in model.named_parameters()}
        tensors |= {f"{cell}/first/{part}": value for part, value in zip("hc", first)}
        tensors |= {f"{cell}/last/{part}": value.detach() for part, value in zip("hc", last)}
        tensors |= {
            f"{cell}/inputs": inputs.float(),
            f"{cell}/targets": targets.float(),
            f"{cell}/logits": logits.detach(),
            f"{cell}/loss": loss.detach().reshape(1),
        }
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    save_file(tensors, path, metadata={"torch": torch.__version__, "program": pathlib.Path(__file__).name})


main()
