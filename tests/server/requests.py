"""Requests to a server over gRPC."""

import threading

import numpy as np
import tritonclient.grpc as grpc_client

_TYPES = {
    np.dtype(np.float32): "FP32",
    np.dtype(np.int64): "INT64",
    np.dtype(np.object_): "BYTES",
}


def tensor(name, array, data_type=None):
    entry = grpc_client.InferInput(name, list(array.shape), data_type or _TYPES[array.dtype])
    entry.set_data_from_numpy(array)
    return entry


def infer(url, model, inputs, outputs=None, timeout_s=30.0, headers=None):
    """All outputs by name; `inputs` maps names to arrays."""
    with grpc_client.InferenceServerClient(url) as client:
        wanted = [grpc_client.InferRequestedOutput(name) for name in outputs] if outputs else None
        tensors = [tensor(name, array) for name, array in inputs.items()]
        result = client.infer(
            model, tensors, outputs=wanted, client_timeout=timeout_s, headers=headers
        )
        return {
            output.name: result.as_numpy(output.name) for output in result.get_response().outputs
        }


def at_once(calls):
    """Run the calls in threads that start together; returns results or exceptions, in order."""
    results = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(index, call):
        barrier.wait()
        try:
            results[index] = call()
        except Exception as exc:
            results[index] = exc

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
