#!/usr/bin/env python3
"""Golden numbers: dynamic evaluation with statistics of the training text (Krause et al. 2018) of a small LSTM in PyTorch.

    python golden/dynamic_evaluation.py        # needs torch and safetensors

Writes golden/dynamic_evaluation.safetensors: weights with the names of `nn.LSTM`, the training text and the text that is
scored as bytes, and the nats of each byte that is predicted, computed in f64.
"""
import pathlib
import torch
from safetensors.torch import save_file

VOCAB, EMBED, HIDDEN, LAYERS = 256, 5, 7, 2
STREAMS, SEGMENT, RATE, DECAY, EPSILON = 100, 5, 1e-3, 2e-2, 1e-4
torch.set_default_dtype(torch.float64)
torch.manual_seed(2026)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCAB, EMBED)
        self.rnn = torch.nn.LSTM(EMBED, HIDDEN, LAYERS)
        self.output = torch.nn.Linear(HIDDEN, VOCAB)

    def forward(self, ids, state):
        hidden, state = self.rnn(self.embedding(ids), state)
        return self.output(hidden), state


def segments(ids):
    """Inputs, targets (T, B) of one segment after the other."""
    for start in range(0, len(ids) - 1, SEGMENT):
        end = min(start + SEGMENT, len(ids) - 1)
        yield ids[start:end], ids[start + 1 : end + 1]


def backward(model, inputs, targets, state):
    """Leaves the gradients of the mean loss; the nats of each target and the state, cut off."""
    model.zero_grad()
    logits, state = model(inputs, state)
    nats = torch.nn.functional.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1), reduction="none")
    nats.mean().backward()
    return nats.detach(), tuple(part.detach() for part in state)


def main():
    model = Model()
    for value in model.parameters():
        value.data = (value.data * 2).float().double()  # as they are stored
    tensors = {name: value.detach().float().clone() for name, value in model.named_parameters()}
    letters = torch.tensor(list(b"abcdefgh \n"))
    train = letters[torch.randint(0, 10, (STREAMS * 16,))]
    text = letters[torch.randint(0, 4, (118,))]

    squares, n, state = [0 * value.data for value in model.parameters()], 0, None
    for inputs, targets in segments(train.view(STREAMS, -1).t().contiguous()):
        _, state = backward(model, inputs, targets, state)
        squares = [square + value.grad**2 for square, value in zip(squares, model.parameters())]
        n += 1
    roots = [(square / n).sqrt() for square in squares]
    mean = sum(root.mean() for root in roots) / len(roots)

    origin, nats, state = [value.data.clone() for value in model.parameters()], [], None
    for inputs, targets in segments(text.view(-1, 1)):
        of_segment, state = backward(model, inputs, targets, state)
        nats.append(of_segment)
        for value, root, start in zip(model.parameters(), roots, origin):
            rate = (root / mean).clamp(max=1 / DECAY) * DECAY
            value.data += rate * (start - value.data) - RATE * value.grad / (root + EPSILON)
    tensors |= {"train": train.float(), "text": text.float(), "nats": torch.cat(nats).float()}
    print(torch.cat(nats).sum().item())
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    save_file(tensors, path, metadata={"torch": torch.__version__, "program": pathlib.Path(__file__).name})


main()
