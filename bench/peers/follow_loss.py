#!/usr/bin/env python3
"""Does PyTorch follow the same loss from the same initial weights?

    recurra train TRAIN --tokenizer word --precision f32 --optimizer sgd --lr 1e-12 --steps 1 --out start …  # the initial weights
    recurra train TRAIN --tokenizer word --precision f32 --optimizer sgd --steps 200 --out run …            # same sizes and seed, --dropout 0
    python bench/peers/follow_loss.py start run TRAIN                       # needs torch and safetensors

Reads the weights from `start/model.safetensors`, trains PyTorch's `nn.LSTM`, `nn.GRU` or `nn.RNN` with the settings below
on the same windows, and compares with `run/training/metrics.jsonl`, whose lines are means over the steps since the line
before. Ends with status 1 when the mean over any 20 steps differs by more than 1 %. Single steps are shown too: at a rate
of 20 training is chaotic, and `--again` shows by how much PyTorch in f32 differs from PyTorch in f64.
"""
import argparse, json, pathlib, sys
import torch
from safetensors.torch import load_file


def word_ids(folder, text):
    """Ids as the tokenizer of the run has them: words at white space, one <eos> a line."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    unknown = vocabulary.get("<unk>")
    words = [word for line in text.splitlines() for word in line.split() + ["<eos>"]]
    return torch.tensor([vocabulary.get(word, unknown) for word in words])


def build(config):
    embed, hidden = config["embed_size"], config["hidden_sizes"]
    assert len(set(hidden)) == 1, "nn.LSTM has layers of one size"
    sizes = (embed, hidden[0], len(hidden))
    cell = config["cell"]
    rnn = {
        "lstm": lambda: torch.nn.LSTM(*sizes),
        "gru": lambda: torch.nn.GRU(*sizes),
        "rnn-tanh": lambda: torch.nn.RNN(*sizes),
        "rnn-relu": lambda: torch.nn.RNN(*sizes, nonlinearity="relu"),
    }[cell]()
    model = torch.nn.Module()
    model.embedding = torch.nn.Embedding(config["vocab_size"], embed)
    model.rnn = rnn
    model.output = torch.nn.Linear(hidden[0], config["vocab_size"])
    if config["tied"]:
        model.output.weight = model.embedding.weight
    return model


def losses(args, dtype, n_steps):
    """The loss of every step of PyTorch, from the weights in `start`."""
    config = json.loads((args.start / "config.json").read_text())
    model = build(config)
    missing, unexpected = model.load_state_dict(load_file(args.start / "model.safetensors"), strict=False)
    assert not unexpected and set(missing) <= {"output.weight"}, (missing, unexpected)
    model.to(dtype)
    ids = word_ids(args.start, args.text.read_text())
    streams = ids[: len(ids) // args.batch * args.batch].view(args.batch, -1).t().contiguous()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    state, found = None, []
    for start in range(0, n_steps * args.bptt, args.bptt):
        inputs, targets = streams[start : start + args.bptt], streams[start + 1 : start + 1 + args.bptt]
        hidden, state = model.rnn(model.embedding(inputs), state)
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        loss = torch.nn.functional.cross_entropy(model.output(hidden).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        found.append(loss.item())
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("start", type=pathlib.Path)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--lr", type=float, default=20.0)
    parser.add_argument("--clip", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--bptt", type=int, default=35)
    parser.add_argument("--again", action="store_true", help="compare PyTorch in f32 with PyTorch in f64")
    args = parser.parse_args()

    lines = [json.loads(line) for line in (args.run / "training/metrics.jsonl").read_text().splitlines()]
    recurra = {line["step"]: line["loss_nats"] for line in lines if line["event"] == "train"}
    pytorch = losses(args, torch.float32, max(recurra))
    other, name = (recurra, "Recurra")
    if args.again:
        other, name = (dict(enumerate(losses(args, torch.float64, max(recurra)), 1)), "PyTorch f64")
    assert len(other) == len(pytorch), "one line a step is needed: at most 200 steps"
    single = [abs(other[step] / loss - 1) for step, loss in enumerate(pytorch, 1)]
    worst = 0.0
    for start in range(0, len(pytorch), 20):
        steps = range(start, min(start + 20, len(pytorch)))
        ours, theirs = (sum(of(step) for step in steps) / len(steps) for of in (lambda s: other[s + 1], lambda s: pytorch[s]))
        worst = max(worst, abs(ours / theirs - 1))
        most = max(single[step] for step in steps)
        print(f"steps {start + 1:4} to {steps[-1] + 1:4}: PyTorch {theirs:.5f}  {name} {ours:.5f}  "
              f"{abs(ours / theirs - 1):.4%}  largest single {most:.4%}")
    print(f"{len(pytorch)} steps: largest difference of a mean of 20 {worst:.4%}, of a single step {max(single):.4%}")
    sys.exit(worst > 0.01)


main()
