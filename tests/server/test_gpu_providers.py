"""A network that names a GPU runs there or not at all, never silently on the CPU."""

import re

import numpy as np
import onnxruntime
import pytest
from fovea_server.backends.onnxruntime.fovea_ort_session import _tensorrt_options, open_session

from . import graphs

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this onnxruntime has the CUDA provider",
)


def accelerated(*names):
    accelerators = [{"name": name} for name in names]
    return {"execution_accelerators": {"gpu_execution_accelerator": accelerators}}


@pytest.fixture
def opened(tmp_path):
    """Opens the linear graph like Triton, and collects its warnings."""
    graphs.add_linear(tmp_path, "linear")
    warnings = []

    def open_it(kind="GPU", config_text=None, **config):
        if config_text is not None:
            (tmp_path / "linear" / "config.pbtxt").write_text(config_text)
        session = open_session(
            {"name": "linear", **config},
            folder=str(tmp_path / "linear" / "1"),
            kind=kind,
            device_id=0,
            warn=warnings.append,
        )
        return session, warnings

    return open_it


@pytest.mark.parametrize(
    ("accelerator", "provider"),
    [("cuda", "CUDAExecutionProvider"), ("tensorrt", "TensorrtExecutionProvider")],
)
def test_a_missing_accelerator_is_refused_with_a_list_of_available_ones(
    opened, accelerator, provider
):
    with pytest.raises(ValueError, match="model 'linear'") as refused:
        opened(optimization=accelerated(accelerator))
    message = str(refused.value)
    assert re.search(rf"expected a session on .*{provider}.* got CPUExecutionProvider", message)
    assert "pip install 'fovea[gpu]'" in message


@pytest.mark.parametrize("group", ["[{ kind: KIND_GPU }]", "[ {count: 1\n kind : KIND_GPU} ]"])
def test_an_instance_group_of_kind_gpu_is_refused(opened, group):
    with pytest.raises(ValueError, match="expected a session on CUDAExecutionProvider"):
        opened(config_text=f"instance_group {group}")


def test_where_triton_chose_the_gpu_itself_the_cpu_serves_and_says_so(opened):
    session, warnings = opened(config_text="instance_group [{ kind: KIND_AUTO }]")
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(session.run(["z"], {"x": x})[0], -x)
    assert len(warnings) == 1 and "expected a session on CUDAExecutionProvider" in warnings[0]


def test_on_a_cpu_an_accelerator_for_gpus_is_left_out_as_the_official_backend_does(opened):
    session, warnings = opened(kind="CPU", optimization=accelerated("cuda"))
    assert session.get_providers() == ["CPUExecutionProvider"] and not warnings


def test_built_engines_are_kept_where_this_user_can_write(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    kept = str(tmp_path / "kept")
    blocked = tmp_path / "file"
    blocked.touch()
    options = _tensorrt_options(
        {"trt_engine_cache_path": kept, "trt_timing_cache_path": f"{blocked}/tensorrt"}
    )
    assert options == {
        "trt_engine_cache_path": kept,
        "trt_timing_cache_path": str(tmp_path / "cache" / "tensorrt"),
    }
