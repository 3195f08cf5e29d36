"""What all serving tests need to call the demo's server."""

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
    """60 held-out scenes with their questions."""
    return [make_trial(seed) for seed in range(60)]
