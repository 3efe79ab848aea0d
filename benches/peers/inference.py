"""More runtimes on the released model, in one run: those of onnxruntime, openvino and torch that pip has installed.

usage: python benches/peers/inference.py [MODEL.onnx] [--threads N]

Prints one Markdown table. Each runtime is held against ONNX Runtime's logits first, and then timed in turns with the others.
"""

import argparse
import os
import time

parser = argparse.ArgumentParser()
parser.add_argument("model", nargs="?", default=os.path.join(os.path.dirname(__file__), "..", "..", "models", "digits.onnx"))
parser.add_argument("--threads", type=int, default=1)
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np  # noqa: E402, after the threads are set

ROUNDS = 40
TURN_SECONDS = 0.05


def onnxruntime(batch):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = ort.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    return lambda digits: session.run(["logits"], {"input": digits})[0]


def openvino(batch, precision="f32"):
    import openvino as ov

    model = ov.Core().read_model(arguments.model)
    model.reshape([batch, 1, 28, 28])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": arguments.threads,
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": 1,
    }
    request = ov.compile_model(model, "CPU", settings).create_infer_request()
    return lambda digits: next(iter(request.infer([digits]).values()))


def torch(batch):
    """The same convolutions in PyTorch, from the ONNX file's weights."""
    import onnx
    import torch as t
    from onnx import numpy_helper

    t.set_num_threads(arguments.threads)
    graph = onnx.load(arguments.model).graph
    weights = {w.name: t.from_numpy(numpy_helper.to_array(w).copy()) for w in graph.initializer}

    def attribute(node, name):
        return next(list(a.ints) for a in node.attribute if a.name == name)

    def run(digits):
        values = {"input": t.from_numpy(digits), **weights}
        with t.inference_mode():
            for node in graph.node:
                x = [values[name] for name in node.input]
                if node.op_type == "Conv":
                    y = t.conv2d(*x, attribute(node, "strides"), attribute(node, "pads")[:2])
                elif node.op_type == "Add":
                    y = x[0] + x[1]
                elif node.op_type == "Flatten":
                    y = x[0].flatten(1)
                elif node.op_type == "Gemm":
                    y = t.nn.functional.linear(*x)
                else:
                    y = {"Relu": t.relu, "Sigmoid": t.sigmoid, "Tanh": t.tanh}[node.op_type](x[0])
                values[node.output[0]] = y
        return values["logits"].numpy()

    return run


def main():
    makers = {"onnxruntime": onnxruntime, "openvino": openvino, "torch": torch}
    print("| runtime | batch | threads | n | median us | p99 us | x ONNX Runtime |\n|---|---:|---:|---:|---:|---:|---:|")
    for batch in (1, 64):
        digits = np.random.default_rng(0).standard_normal((batch, 1, 28, 28)).astype(np.float32)
        runners = {}
        for name, make in makers.items():
            try:
                runners[name] = make(batch)
            except ImportError as error:
                print(f"\n`{name}` is missing: {error}\n")
        expected = next(iter(runners.values()))(digits)
        for name, run in runners.items():
            np.testing.assert_allclose(run(digits), expected, atol=1e-4, err_msg=name)
        report(batch, interleaved(runners, digits))


def interleaved(runners, digits):
    times = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, run in runners.items():
            run(digits)
            end = time.perf_counter() + TURN_SECONDS
            while time.perf_counter() < end:
                start = time.perf_counter()
                run(digits)
                times[name].append((time.perf_counter() - start) * 1e6)
    return times


def report(batch, times):
    medians = {name: float(np.median(values)) for name, values in times.items()}
    for name, values in times.items():
        ratio = medians.get("onnxruntime", float("nan")) / medians[name]
        p99 = np.percentile(values, 99)
        print(f"| {name} | {batch} | {arguments.threads} | {len(values)} | {medians[name]:.1f} | {p99:.1f} | {ratio:.2f} |")


main()
