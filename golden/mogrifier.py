#!/usr/bin/env python3
"""Golden numbers: small language models of Mogrifier LSTMs and of LSTMs with coupled input gates, with losses, logits, states and
gradients.

    python golden/mogrifier.py        # needs torch and safetensors

Writes golden/mogrifier.safetensors. PyTorch has neither cell, so each is written here from its paper's equations, a step at a time,
and PyTorch differentiates it. Every tensor is called `<case>/<name>`.

- coupled: Melis, Dyer and Blunsom 2018, "On the State of the Art of Evaluation in Neural Language Models": i = min(i, 1 - f), and the
  sum of all layers goes to the output layer.
- mogrifier, mogrifier-rank: Melis, Kocisky and Blunsom 2020, "Mogrifier LSTM", section 2: five rounds, and four of rank 3 with both
  of the above.
"""
import pathlib
import torch
from safetensors.torch import save_file

VOCAB, EMBED, HIDDEN, TIME, BATCH, LAYERS = 11, 5, 7, 6, 3, 2


def matrix(rows, columns):
    return torch.nn.Parameter(torch.randn(rows, columns) * 0.5)


class Mogrifier(torch.nn.Module):
    def __init__(self, inputs, rounds, rank, coupled):
        super().__init__()
        self.coupled = coupled
        self.w, self.u = matrix(4 * HIDDEN, inputs), matrix(4 * HIDDEN, HIDDEN)
        self.b_w, self.b_u = torch.nn.Parameter(torch.randn(4 * HIDDEN)), torch.nn.Parameter(torch.randn(4 * HIDDEN))
        sizes = [(inputs, HIDDEN) if i % 2 == 1 else (HIDDEN, inputs) for i in range(1, rounds + 1)]
        factors = [[(m, n)] if rank is None else [(m, rank), (rank, n)] for m, n in sizes]
        self.rounds = torch.nn.ModuleList(torch.nn.ParameterList(matrix(*size) for size in sizes) for sizes in factors)

    def step(self, x, h, c):
        for i, factors in enumerate(self.rounds, start=1):
            q = factors[0] if len(factors) == 1 else factors[0] @ factors[1]
            if i % 2 == 1:
                x = 2 * torch.sigmoid(h @ q.T) * x
            else:
                h = 2 * torch.sigmoid(x @ q.T) * h
        i, f, g, o = (x @ self.w.T + self.b_w + h @ self.u.T + self.b_u).chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        if self.coupled:
            i = torch.minimum(i, 1 - f)
        c = f * c + i * g
        return o * torch.tanh(c), c

    def weights(self, get):
        tensors = {"weight_ih": get(self.w), "weight_hh": get(self.u), "bias_ih": get(self.b_w), "bias_hh": get(self.b_u)}
        for i, factors in enumerate(self.rounds, start=1):
            names = [""] if len(factors) == 1 else ["_left", "_right"]
            tensors |= {f"mogrifier{name}_{i}": get(factor) for name, factor in zip(names, factors)}
        return tensors


class Model(torch.nn.Module):
    def __init__(self, rounds, rank, coupled, summed):
        super().__init__()
        self.summed = summed
        self.embedding = torch.nn.Embedding(VOCAB, EMBED)
        widths = [EMBED] + [HIDDEN] * (LAYERS - 1)
        self.layers = torch.nn.ModuleList(Mogrifier(width, rounds, rank, coupled) for width in widths)
        self.output = torch.nn.Linear(HIDDEN, VOCAB)

    def forward(self, ids, states):
        xs, outputs, last = list(self.embedding(ids)), [], []
        for layer, (h, c) in zip(self.layers, states):
            hidden = []
            for x in xs:
                h, c = layer.step(x, h, c)
                hidden.append(h)
            xs = hidden
            outputs.append(torch.stack(hidden))
            last.append((h, c))
        return self.output(sum(outputs) if self.summed else outputs[-1]), last

    def weights(self, get):
        tensors = {"embedding.weight": get(self.embedding.weight)}
        for idx, layer in enumerate(self.layers):
            tensors |= {f"rnn.{name}_l{idx}": value for name, value in layer.weights(get).items()}
        return tensors | {"output.weight": get(self.output.weight), "output.bias": get(self.output.bias)}


CASES = {
    "coupled": dict(rounds=0, rank=None, coupled=True, summed=True),
    "mogrifier": dict(rounds=5, rank=None, coupled=False, summed=False),
    "mogrifier-rank": dict(rounds=4, rank=3, coupled=True, summed=True),
}


def main():
    tensors = {}
    for name, options in CASES.items():
        torch.manual_seed(2026)
        model = Model(**options)
        inputs = torch.randint(0, VOCAB, (TIME, BATCH))
        targets = torch.randint(0, VOCAB, (TIME, BATCH))
        first = [[0.5 * torch.randn(BATCH, HIDDEN) for _ in "hc"] for _ in range(LAYERS)]
        logits, last = model(inputs, first)
        loss = torch.nn.functional.cross_entropy(logits.view(-1, VOCAB), targets.view(-1))
        loss.backward()
        found = model.weights(lambda parameter: parameter.detach())
        found |= {f"gradient/{key}": value for key, value in model.weights(lambda parameter: parameter.grad).items()}
        for when, states in {"first": first, "last": last}.items():
            for layer, state in enumerate(states):
                found |= {f"{when}/{part}_l{layer}": value.detach() for part, value in zip("hc", state)}
        found |= {
            "inputs": inputs.float(),
            "targets": targets.float(),
            "logits": logits.detach(),
            "loss": loss.detach().reshape(1),
        }
        tensors |= {f"{name}/{key}": value.clone().contiguous() for key, value in found.items()}
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    save_file(tensors, path, metadata={"torch": torch.__version__, "program": pathlib.Path(__file__).name})


main()
