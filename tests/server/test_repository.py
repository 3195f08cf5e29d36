"""Repositories that are refused before anything starts."""

import pytest
from fovea_server import EmbeddedServer
from fovea_server.errors import RepositoryError
from fovea_server.installation import OFFICIAL_ONNXRUNTIME, STUB
from fovea_server.options import ServerOptions

from export.repository import onnx_path, write_repository
from export.runtimes import RUNTIMES
from tests.deployments import TINY


@pytest.fixture
def official(tmp_path, monkeypatch):
    """An installation whose onnxruntime backend is the C++ one."""
    backends = tmp_path / "tritonserver" / "backends"
    program = tmp_path / "tritonserver" / "bin" / "tritonserver"
    for path in (
        program,
        backends / "onnxruntime" / OFFICIAL_ONNXRUNTIME,
        backends / "python" / STUB,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(program))


def prepare(folder, runtime, precision):
    """A start's checks of TINY exported like this; its graphs are empty."""
    write_repository(folder, TINY, RUNTIMES[runtime], precision)
    graph = onnx_path(folder, "clip_image_encoder")
    graph.parent.mkdir(exist_ok=True)
    graph.touch()
    server = EmbeddedServer(ServerOptions(model_repository=folder))
    try:
        server.prepare()
    finally:
        server.kill()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_official_backend_gets_no_network_whose_precision_it_would_ignore(
    official, tmp_path, precision
):
    with pytest.raises(RepositoryError, match=f"wants OpenVINO in {precision}.*ignores that"):
        prepare(tmp_path / "models", "onnxruntime-openvino", precision)


def test_the_official_backend_gets_networks_of_onnxruntime(official, tmp_path):
    prepare(tmp_path / "models", "onnxruntime", "fp32")


def test_our_backend_accepts_a_precision_for_openvino(tmp_path):
    prepare(tmp_path / "models", "onnxruntime-openvino", "bf16")
