"""Checks ONNX files with the packages onnx and onnxruntime: python3 check_onnx.py FILE...

Fails on the first error; a warning of ONNX Runtime goes to stderr, where the test that calls this expects nothing.
"""
import json
import sys

import numpy as np
import onnx
import onnxruntime


def main():
    for path in sys.argv[1:]:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        check_runs(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))


def check_runs(session):
    contract = json.loads(session.get_modelmeta().custom_metadata_map["threeblock.contract"])
    temperature = contract["training"].get("temperature", 1.0)
    (inputs,) = session.get_inputs()
    batch, *sizes = inputs.shape
    for n in [batch] if isinstance(batch, int) else [1, 7]:
        digits = np.random.default_rng(0).integers(0, 256, (n, *sizes))
        dtype = np.uint8 if inputs.type == "tensor(uint8)" else np.float32
        logits, *rest = session.run(None, {inputs.name: digits.astype(dtype)})
        assert logits.shape == (n, 10) and np.isfinite(logits).all()
        for probabilities in rest:
            calibrated = logits / temperature
            exponentials = np.exp(calibrated - calibrated.max(axis=1, keepdims=True))
            np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), atol=1e-6)


main()
