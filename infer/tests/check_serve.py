"""Holds a running `infer serve` against others' clients: tritonclient, Prometheus' parser and Schemathesis.

usage: check_serve.py HOST:PORT
"""

import subprocess
import sys
import tempfile
import urllib.request

import numpy as np
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

ADDRESS = sys.argv[1]


def protocol():
    client = triton.InferenceServerClient(ADDRESS)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("digits")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("digits")["inputs"][0]["shape"] == [-1, 1, 28, 28]
    digits = np.random.default_rng(0).standard_normal((3, 1, 28, 28)).astype(np.float32)
    answers = [infer(client, digits, *binary) for binary in [(False, False), (False, True), (True, False), (True, True)]]
    for answer in answers:
        assert answer.shape == (3, 10)
        np.testing.assert_allclose(answer, answers[0], atol=1e-5)
    try:
        infer(client, digits.reshape(3, 784), True, True)
    except InferenceServerException as error:
        assert "shape" in str(error), error
    else:
        raise AssertionError("a wrong shape is answered")


def infer(client, digits, binary_input, binary_output):
    tensor = triton.InferInput("input", digits.shape, "FP32")
    tensor.set_data_from_numpy(digits, binary_data=binary_input)
    output = triton.InferRequestedOutput("logits", binary_data=binary_output)
    return client.infer("digits", [tensor], outputs=[output]).as_numpy("logits")


def metrics():
    text = urllib.request.urlopen(f"http://{ADDRESS}/metrics").read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["infer_stage_seconds"].type == "histogram", families.keys()
    counts = {s.labels["stage"]: s.value for s in families["infer_stage_seconds"].samples if s.name.endswith("_count")}
    assert counts["infer"] >= 4, counts
    for name in ["infer_requests", "infer_refusals", "infer_batch_digits", "infer_engine_queue_requests"]:
        assert families[name].samples, name


def description():
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{ADDRESS}/openapi.json"]
    command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"]
    command += ["--max-examples", "20", "--seed", "1", "--no-color"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


protocol()
metrics()
description()
