"""The command line of tritonserver."""

import dataclasses
import os
from pathlib import Path

import pytest
from fovea_server import ServerOptions, hardware
from fovea_server.command import build_command
from fovea_server.hardware import Hardware, this_machine
from fovea_server.installation import OFFICIAL_ONNXRUNTIME, STUB, prepare_backends
from fovea_server.ports import Ports

OPTIONS = ServerOptions(model_repository=Path("models"), extra_args=("--id=mine",))
PROCESSOR = Hardware(gpus=0, cores=6)
TWO_GPUS = Hardware(gpus=2, cores=6)


def build(options=OPTIONS, machine=PROCESSOR):
    """The command for the installation that FOVEA_TRITONSERVER names, or the wheel's."""
    return build_command(
        options,
        repository=Path("/models"),
        backends=prepare_backends(),
        ports=Ports(grpc=1, http=2, metrics=3),
        secret="s3cret",
        reading_secret="r3ad",
        regions="mine_",
        hardware=machine,
    )


def settings(command, flag):
    return [part.partition("=")[2] for part in command if part.startswith(f"--{flag}=")]


@pytest.fixture
def official(tmp_path, monkeypatch):
    """An installation laid out like Triton's container, with the C++ onnxruntime backend."""
    root = tmp_path / "tritonserver"
    parts = ("bin/tritonserver", f"backends/onnxruntime/{OFFICIAL_ONNXRUNTIME}")
    for part in (*parts, f"backends/python/{STUB}"):
        path = root / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o755)
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(root / "bin" / "tritonserver"))


def test_the_command_listens_on_loopback_and_closes_administration():
    command = build()
    addresses = [argument for argument in command if "-address=" in argument]
    assert [address.partition("=")[2] for address in addresses] == ["127.0.0.1"] * 3
    rule = "shared-memory,model-repository,trace,logging:x-fovea-admin=s3cret"
    assert settings(command, "http-restricted-api") == [rule]
    assert settings(command, "grpc-restricted-protocol") == [rule]
    assert command[-1] == "--id=mine"


def test_apis_that_change_nothing_have_their_own_secret():
    closed = ("model-repository", "model-config", "statistics", "trace")
    command = build(dataclasses.replace(OPTIONS, closed_apis=closed))
    rules = ["model-repository,trace:x-fovea-admin=s3cret"]
    rules.append("model-config,statistics:x-fovea-read=r3ad")
    assert settings(command, "http-restricted-api") == rules
    assert settings(command, "grpc-restricted-protocol") == rules
    assert not settings(build(dataclasses.replace(OPTIONS, closed_apis=())), "http-restricted-api")


def test_the_official_backend_shares_one_thread_pool_on_a_processor(official):
    assert settings(build(), "backend-config") == [
        "python,shm-region-prefix-name=mine_",
        "onnxruntime,enable-global-threadpool=1",
        "onnxruntime,intra_op_thread_count=6",
    ]


def test_our_backend_and_gpus_need_no_common_thread_pool(official, monkeypatch):
    assert "threadpool" not in " ".join(build(machine=TWO_GPUS))
    monkeypatch.delenv("FOVEA_TRITONSERVER")
    assert settings(build(), "backend-config") == [
        "python,shm-region-prefix-name=mine_",
        "onnxruntime,shm-region-prefix-name=mine_",
    ]


def test_memory_pools_are_made_for_each_gpu_and_only_there(official):
    command = build(machine=TWO_GPUS)
    assert settings(command, "cuda-memory-pool-byte-size") == ["0:536870912", "1:536870912"]
    assert settings(command, "pinned-memory-pool-byte-size") == ["536870912"]
    assert "memory-pool" not in " ".join(build())
    as_triton_has_it = dataclasses.replace(
        OPTIONS, cuda_memory_pool_bytes=0, pinned_memory_pool_bytes=0
    )
    assert "memory-pool" not in " ".join(build(as_triton_has_it, TWO_GPUS))


def test_the_response_cache_takes_memory_only_on_request():
    assert not settings(build(), "cache-config")
    cached = dataclasses.replace(OPTIONS, cache_size_bytes=2**20)
    assert settings(build(cached), "cache-config") == ["local,size=1048576"]


@pytest.mark.parametrize(
    ("devices", "visible", "gpus"),
    [
        ([], None, 0),
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], None, 2),
        (["nvidia0", "nvidia1"], "1", 1),
        (["nvidia0", "nvidia1"], "1,-1,0", 1),
        (["nvidia0"], "", 0),
        (["nvidiactl"], "0", 0),
        (["dxg"], None, 1),
    ],
)
def test_gpus_are_counted_by_their_device_files(tmp_path, monkeypatch, devices, visible, gpus):
    monkeypatch.setattr(hardware, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for device in devices:
        (tmp_path / device).touch()
    assert this_machine().gpus == gpus
    assert 1 <= this_machine().cores <= os.cpu_count()
