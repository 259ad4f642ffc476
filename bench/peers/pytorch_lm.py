#!/usr/bin/env python3
"""PyTorch as the opponent: the shapes of `recurra bench`, trained and run on the same machine.

    pip install torch                        # any CPU build
    python pytorch_lm.py train    [--shape NAME ...] [--precision f32|bf16|best] [--steps N] [--threads N]
    python pytorch_lm.py generate [--shape NAME ...] [--precision f32|bf16|best] [--streams N] [--tokens N] [--threads N]

Prints one JSON line a shape. Training is a user's loop: forward, cross-entropy over every token, backward, global
clipping, SGD, dropout 0.5; the median step after two that are not counted. Writing takes the likeliest token each time,
the median too. `best` times f32 and bf16 (autocast in training, weights in bf16 when writing) and keeps the faster, so that
nobody can say the opponent was held back; each is timed in a process of its own, so that its memory is its own. A loss that is not near ln V is refused: what is wrong is not timed.

To hold PyTorch to AVX2: ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 in the environment.
"""
import argparse, json, math, resource, statistics, subprocess, sys, time
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Shape:
    cell: str
    vocab: int
    embed: int
    hidden: list
    batch: int
    bptt: int
    tied: bool


SHAPES = {
    "char-512": Shape("LSTM", 96, 512, [512, 512], 64, 128, False),
    "gru-512": Shape("GRU", 96, 512, [512, 512], 64, 128, False),
    "ptb-650": Shape("LSTM", 10000, 650, [650, 650], 20, 35, True),
    "word-650": Shape("LSTM", 33278, 650, [650, 650], 20, 35, True),
    "word-200": Shape("LSTM", 33278, 200, [200, 200], 20, 35, True),
    "awd-1150": Shape("LSTM", 10000, 400, [1150, 1150, 400], 20, 70, True),
}
WARM_UP = 2


class LanguageModel(nn.Module):
    def __init__(self, shape, dropout=0.5):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(shape.vocab, shape.embed)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        cell = getattr(nn, shape.cell)
        if set(shape.hidden) == {shape.embed}:
            # All layers in one call: the fastest form that PyTorch has.
            self.layers = nn.ModuleList([cell(shape.embed, shape.embed, len(shape.hidden), dropout=dropout)])
        else:
            self.layers = nn.ModuleList(map(cell, [shape.embed] + shape.hidden[:-1], shape.hidden))
        self.output = nn.Linear(shape.hidden[-1], shape.vocab)
        if shape.tied:
            self.output.weight = self.embedding.weight

    def forward(self, ids, states):
        x, after = self.dropout(self.embedding(ids)), []  # (T, B, E)
        for layer, state in zip(self.layers, states):
            x, state = layer(x, state)
            x = self.dropout(x)
            after.append(state)
        return self.output(x), after  # (T, B, V)


def detached(state):
    return tuple(map(detached, state)) if isinstance(state, tuple) else state.detach().float()


def train(shape, precision, args):
    """Tokens a second of whole training steps."""
    torch.manual_seed(1)
    model = LanguageModel(shape)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    inputs = torch.randint(shape.vocab, (shape.bptt, shape.batch))
    targets = torch.randint(shape.vocab, (shape.bptt * shape.batch,))
    states, seconds = [None] * len(model.layers), []
    for step in range(WARM_UP + args.steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits, states = model(inputs, states)
            loss = nn.functional.cross_entropy(logits.float().view(-1, shape.vocab), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        states = [detached(state) for state in states]
        if step == 0 and not abs(loss.item() - math.log(shape.vocab)) < 1:
            sys.exit(f"the first loss is {loss.item()}, expected about {math.log(shape.vocab):.2f}")
        if step >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    return shape.batch * shape.bptt / statistics.median(seconds)


@torch.inference_mode()
def generate(shape, precision, args):
    """Tokens a second over all streams, one token at a time."""
    torch.manual_seed(1)
    model = LanguageModel(shape).eval()
    if precision == "bf16":
        model = model.bfloat16()
    ids, states, seconds = torch.zeros(1, args.streams, dtype=torch.long), [None] * len(model.layers), []
    for step in range(WARM_UP + args.tokens):
        start = time.perf_counter()
        logits, states = model(ids, states)
        ids = logits.argmax(-1)
        if step >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    return args.streams / statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["train", "generate"])
    parser.add_argument("--shape", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--precision", default="best", choices=["f32", "bf16", "best"])
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    for name in args.shape:
        precisions = ["f32", "bf16"] if args.precision == "best" else [args.precision]
        alone = len(args.shape) == len(precisions) == 1
        timed = timing if alone else timing_of_its_own
        rows = [timed(name, precision, args) for precision in precisions]
        row = max(rows, key=lambda row: row["tokens_per_second"])
        for other in rows:
            row[f"tokens_per_second_{other['precision']}"] = other["tokens_per_second"]
        print(json.dumps(row), flush=True)


def timing(name, precision, args):
    """One shape in one precision."""
    if args.threads:
        torch.set_num_threads(args.threads)
    speed = (train if args.mode == "train" else generate)(SHAPES[name], precision, args)
    row = {"peer": f"torch {torch.__version__}", "mode": args.mode, "shape": name, "precision": precision}
    row |= {"tokens_per_second": round(speed, 1), "threads": torch.get_num_threads()}
    row |= {"streams": args.streams} if args.mode == "generate" else {}
    return row | {"peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def timing_of_its_own(name, precision, args):
    """The same in another process: the most memory that a process held is never given back."""
    words = [sys.executable, __file__, args.mode, "--shape", name, "--precision", precision]
    words += ["--steps", args.steps, "--streams", args.streams, "--tokens", args.tokens]
    words += ["--threads", args.threads] if args.threads else []
    ended = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        sys.exit(ended.returncode)
    return json.loads(ended.stdout)


main()
