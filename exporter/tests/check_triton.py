"""Reads configurations of models by Triton's own schema: python3 check_triton.py config.pbtxt..."""
import sys

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

for path in sys.argv[1:]:
    with open(path) as file:
        config = text_format.Parse(file.read(), model_config_pb2.ModelConfig())
    assert config.name == "digits" and len(config.input) == len(config.output) == 1, path
    # Triton makes batches only where the sizes leave the batch out.
    assert (config.max_batch_size == 0) == (list(config.output[0].dims) != [10]), path
