"""Turns checkpoints into ONNX networks and a Triton model repository: `python -m export`."""
