"""What all serving tests ask the demo's server with."""

from __future__ import annotations

import pytest
import tritonclient.grpc as triton

from demo.evaluate import make_trial


@pytest.fixture(scope="session")
def triton_client(url: str):
    """Triton's own client, for tensors that fovea's would never send."""
    with triton.InferenceServerClient(url) as connected:
        yield connected


@pytest.fixture(scope="session")
def trials():
    """60 held-out scenes with the questions about them."""
    return [make_trial(seed) for seed in range(60)]
