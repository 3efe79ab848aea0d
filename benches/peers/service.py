"""The usual way to serve a digit model in Python: FastAPI on uvicorn, Pillow, onnxruntime.

usage: PYTHONPATH=.deps/python-serve python benches/peers/service.py PORT

`POST /classify` takes a picture, `POST /infer` raw little-endian float32 numbers of one digit.
"""

import io
import os
import sys

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI, Request  # noqa: E402
from PIL import Image  # noqa: E402

MODEL = os.path.join(os.path.dirname(__file__), "..", "..", "models", "digits.onnx")

app = FastAPI()
session = ort.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


def answer(digits):
    logits = session.run(["logits"], {"input": digits})[0][0]
    odds = np.exp(logits - logits.max())
    return {"digit": int(logits.argmax()), "probabilities": (odds / odds.sum()).tolist()}


@app.post("/classify")
async def classify(request: Request):
    picture = Image.open(io.BytesIO(await request.body())).convert("L").resize((28, 28))
    pixels = 255 - np.asarray(picture, dtype=np.float32)
    return answer(((pixels / 255 - 0.1307) / 0.3081).reshape(1, 1, 28, 28))


@app.post("/infer")
async def infer(request: Request):
    return answer(np.frombuffer(await request.body(), dtype="<f4").reshape(1, 1, 28, 28))


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
