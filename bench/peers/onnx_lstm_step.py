#!/usr/bin/env python3
"""ONNX Runtime as the opponent in single LSTM steps: one stream, one token, one call.

    pip install onnxruntime onnx numpy
    python bench/peers/onnx_lstm_step.py [--hidden 256 512 1024] [--precision f32|int8] [--threads N] [--steps N]

One JSON line per size: microseconds of a call (median), state in and state out. `int8` is what `quantize_dynamic` makes of
the model (weights in int8, inputs quantised in every call), the usual way to make a recurrent model small and fast there.
The result is compared with numpy before anything is timed. Beside it: `recurra bench step --hidden N --precision int8`.
"""
import argparse, json, pathlib, tempfile, time
import numpy as np
import onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def build(hidden, random):
    """A model of one LSTM layer over one step; ONNX has the gates in the order i, o, f, c."""
    bound = hidden**-0.5
    w, r = (random.uniform(-bound, bound, (1, 4 * hidden, hidden)).astype(np.float32) for _ in range(2))
    b = random.uniform(-bound, bound, (1, 8 * hidden)).astype(np.float32)
    state = [1, 1, hidden]
    node = helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["", "h_after", "c_after"], hidden_size=hidden)
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, state)
    graph = helper.make_graph(
        [node],
        "step",
        [value("x"), value("h"), value("c")],
        [value("h_after"), value("c_after")],
        [numpy_helper.from_array(values, name) for values, name in ((w, "w"), (r, "r"), (b, "b"))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model, (w[0], r[0], b[0])


def expected(weights, x, h, c):
    w, r, b = weights
    half = len(b) // 2
    i, o, f, g = np.split(w @ x + r @ h + b[:half] + b[half:], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def time_step(hidden, precision, threads, steps):
    random = np.random.default_rng(1)
    model, weights = build(hidden, random)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "step.onnx")
        onnx.save(model, path)
        if precision == "int8":
            small = pathlib.Path(folder, "small.onnx")
            quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True)
            path = small
        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x, h, c = (random.uniform(-1, 1, (1, 1, hidden)).astype(np.float32) for _ in range(3))
    feed = {"x": x, "h": h, "c": c}
    for found, wanted in zip(session.run(None, feed), expected(weights, x[0, 0], h[0, 0], c[0, 0])):
        distance = np.abs(found.ravel() - wanted).max()
        assert distance < (2e-2 if precision == "int8" else 1e-4), f"a step is off by {distance}"
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        h, c = session.run(None, {"x": x, "h": h, "c": c})
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[steps // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", nargs="*", type=int, default=[256, 512, 1024])
    parser.add_argument("--precision", choices=["f32", "int8"], default="int8")
    parser.add_argument("--threads", type=int, help="threads of one operation [default: the number of cores]")
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    for hidden in args.hidden:
        seconds = time_step(hidden, args.precision, args.threads, args.steps)
        row = {"peer": f"onnxruntime {onnxruntime.__version__}", "mode": "step", "cell": "lstm", "hidden": hidden}
        row |= {"precision": args.precision, "microseconds": round(seconds * 1e6, 1)}
        print(json.dumps(row), flush=True)


main()
