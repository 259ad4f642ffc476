#!/usr/bin/env python3
"""Golden numbers: small language models of the cells that are trained as scans, with losses, logits, states and gradients.

    python golden/scan_cells.py        # needs torch and safetensors

Writes golden/scan_cells.safetensors. PyTorch has none of these cells, so each is written here from its paper's equations, a
step at a time, and PyTorch differentiates it. Every tensor is called `<cell>/<name>`.

- min-gru, min-lstm: Feng et al. 2024, "Were RNNs All We Needed?", section 3.
- qrnn: Bradbury et al. 2017, "Quasi-Recurrent Neural Networks", fo-pooling, filters of width two.
- sru: Lei et al. 2018, "Simple Recurrent Units for Highly Parallelizable Recurrence", highway bias 0, so alpha is sqrt(3).
"""
import pathlib
import torch
from safetensors.torch import save_file

VOCAB, EMBED, HIDDEN, TIME, BATCH = 11, 5, 7, 6, 3
LAYERS = 3  # the first one has inputs of another width


class MinGru(torch.nn.Module):
    parts = ["h"]

    def __init__(self, inputs):
        super().__init__()
        self.linear_z, self.linear_h = torch.nn.Linear(inputs, HIDDEN), torch.nn.Linear(inputs, HIDDEN)

    def widths(self):
        return [HIDDEN]

    def step(self, x, h):
        z = torch.sigmoid(self.linear_z(x))
        h = (1 - z) * h + z * self.linear_h(x)
        return h, (h,)

    def weights(self, get):
        linears = [self.linear_z, self.linear_h]
        return {"weight_ih": torch.cat([get(l.weight) for l in linears]), "bias_ih": torch.cat([get(l.bias) for l in linears])}


class MinLstm(torch.nn.Module):
    parts = ["h"]

    def __init__(self, inputs):
        super().__init__()
        self.linear_f, self.linear_i, self.linear_h = (torch.nn.Linear(inputs, HIDDEN) for _ in range(3))

    def widths(self):
        return [HIDDEN]

    def step(self, x, h):
        f, i = torch.sigmoid(self.linear_f(x)), torch.sigmoid(self.linear_i(x))
        h = f / (f + i) * h + i / (f + i) * self.linear_h(x)
        return h, (h,)

    def weights(self, get):
        linears = [self.linear_f, self.linear_i, self.linear_h]
        return {"weight_ih": torch.cat([get(l.weight) for l in linears]), "bias_ih": torch.cat([get(l.bias) for l in linears])}


class Qrnn(torch.nn.Module):
    parts = ["c", "x"]

    def __init__(self, inputs):
        super().__init__()
        self.inputs = inputs
        self.now = torch.nn.Linear(inputs, 3 * HIDDEN)
        self.earlier = torch.nn.Linear(inputs, 3 * HIDDEN, bias=False)

    def widths(self):
        return [HIDDEN, self.inputs]

    def step(self, x, c, x_before):
        z, f, o = (self.now(x) + self.earlier(x_before)).chunk(3, dim=-1)
        z, f, o = torch.tanh(z), torch.sigmoid(f), torch.sigmoid(o)
        c = f * c + (1 - f) * z
        return o * c, (c, x)

    def weights(self, get):
        return {"weight_ih": torch.cat([get(self.now.weight), get(self.earlier.weight)], dim=1), "bias_ih": get(self.now.bias)}


class Sru(torch.nn.Module):
    parts = ["c"]

    def __init__(self, inputs):
        super().__init__()
        matrix = lambda: torch.nn.Parameter(torch.randn(HIDDEN, inputs) * 0.5)
        vector = lambda: torch.nn.Parameter(torch.randn(HIDDEN) * 0.5)
        self.w, self.w_f, self.w_r = matrix(), matrix(), matrix()
        self.w_x = matrix() if inputs != HIDDEN else None
        self.v_f, self.v_r, self.b_f, self.b_r = vector(), vector(), vector(), vector()

    def widths(self):
        return [HIDDEN]

    def step(self, x, c):
        f = torch.sigmoid(x @ self.w_f.T + self.v_f * c + self.b_f)
        r = torch.sigmoid(x @ self.w_r.T + self.v_r * c + self.b_r)
        c = f * c + (1 - f) * (x @ self.w.T)
        x = x if self.w_x is None else x @ self.w_x.T
        return r * c + (1 - r) * x * 3**0.5, (c,)

    def weights(self, get):
        matrices = [self.w, self.w_f, self.w_r] + ([] if self.w_x is None else [self.w_x])
        cat = lambda parameters: torch.cat([get(parameter) for parameter in parameters])
        return {"weight_ih": cat(matrices), "bias_ih": cat([self.b_f, self.b_r]), "weight_c": cat([self.v_f, self.v_r])}


class Model(torch.nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCAB, EMBED)
        self.layers = torch.nn.ModuleList(cell(EMBED if layer == 0 else HIDDEN) for layer in range(LAYERS))
        self.output = torch.nn.Linear(HIDDEN, VOCAB)

    def forward(self, ids, states):
        xs, last = list(self.embedding(ids)), []
        for layer, state in zip(self.layers, states):
            hidden = []
            for x in xs:
                h, state = layer.step(x, *state)
                hidden.append(h)
            xs = hidden
            last.append(state)
        return self.output(torch.stack(xs)), last

    def weights(self, get):
        tensors = {"embedding.weight": get(self.embedding.weight)}
        for idx, layer in enumerate(self.layers):
            tensors |= {f"rnn.{name}_l{idx}": value for name, value in layer.weights(get).items()}
        return tensors | {"output.weight": get(self.output.weight), "output.bias": get(self.output.bias)}


def main():
    tensors = {}
    for name, cell in {"min-gru": MinGru, "min-lstm": MinLstm, "qrnn": Qrnn, "sru": Sru}.items():
        torch.manual_seed(2026)
        model = Model(cell)
        inputs = torch.randint(0, VOCAB, (TIME, BATCH))
        targets = torch.randint(0, VOCAB, (TIME, BATCH))
        first = [[torch.randn(BATCH, width) for width in layer.widths()] for layer in model.layers]
        logits, last = model(inputs, first)
        loss = torch.nn.functional.cross_entropy(logits.view(-1, VOCAB), targets.view(-1))
        loss.backward()
        found = model.weights(lambda parameter: parameter.detach())
        found |= {f"gradient/{key}": value for key, value in model.weights(lambda parameter: parameter.grad).items()}
        for when, states in {"first": first, "last": last}.items():
            for layer, state in enumerate(states):
                found |= {f"{when}/{part}_l{layer}": value.detach() for part, value in zip(cell.parts, state)}
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
