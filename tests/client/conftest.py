from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from fovea_client import Client, RetryPolicy
from PIL import Image

from tests.client.fake_triton import SIZE_HW, FakeTriton

QUICK = RetryPolicy(first_delay_s=0.01, max_delay_s=0.05)


@pytest.fixture
def triton() -> Iterator[FakeTriton]:
    server = FakeTriton().start()
    yield server
    server.stop()


@pytest.fixture
def client(triton: FakeTriton) -> Iterator[Client]:
    with Client(triton.url, timeout_s=5, retry=QUICK) as opened:
        yield opened


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3), np.uint8)


@pytest.fixture
def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
