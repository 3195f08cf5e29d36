"""Which engines belong to an export on a GPU, and what a build keeps."""

import json
import shutil
import sys

import pytest

from deploy.containers import engine_key

L4 = "GPU 0: NVIDIA L4 (UUID: GPU-1)\n"
A40 = "GPU 0: NVIDIA A40 (UUID: GPU-2)\n"
A10 = "GPU 0: NVIDIA A10 (UUID: GPU-3)\n"
MIG = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-4)\n  MIG 1g.5gb      Device  0: (UUID: MIG-5)\n"
# Builds a missing engine, notes it down, and fails when told to.
BUILD = """
import pathlib, sys
folder = pathlib.Path(sys.argv[-1])
assert (folder / "onnx" / "net.onnx").is_file(), "the graphs are there"
for name in ("first", "second"):
    plan = folder / "model_repository" / name / "1" / "model.plan"
    if not plan.is_file():
        plan.parent.mkdir(parents=True)
        plan.write_text("engine")
        (folder / "built").open("a").write(name + " ")
    if sys.argv[1] == "fail":
        raise SystemExit(3)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Sets the GPU that `nvidia-smi` shows; two TensorRT libraries are installed."""
    for name in ("libnvinfer.so.10", "libnvinfer.so.10.9.2", "libnvinfer.so.10.14.1"):
        (tmp_path / name).touch()
    (tmp_path / "libnvinfer_plugin.so.11.0.0").touch()
    version = engine_key.tensorrt_version((tmp_path,))
    monkeypatch.setattr(engine_key, "tensorrt_version", lambda: version)
    programs = tmp_path / "bin"
    programs.mkdir()

    def gpu(listed, capability):
        script = f"""#!/bin/sh
if [ "$1" = -L ]; then printf '%s' '{listed}'; else echo {capability}; fi
"""
        (programs / "nvidia-smi").write_text(script)
        (programs / "nvidia-smi").chmod(0o755)

    gpu(L4, "8.9")
    monkeypatch.setenv("PATH", str(programs))
    return gpu


@pytest.fixture
def store(tmp_path):
    """A store with one export."""
    export = tmp_path / "engines" / "export"
    (export / "onnx").mkdir(parents=True)
    (export / "onnx" / "net.onnx").touch()
    (export / "model_repository" / "first").mkdir(parents=True)
    (export / "model_repository" / "first" / "config.pbtxt").touch()
    (export / "manifest.json").write_text(json.dumps({"request": {"precision": "fp16"}}))
    return tmp_path / "engines"


def run(*words):
    """Run the command; returns the exit code."""
    return engine_key.app([*map(str, words)], standalone_mode=False) or 0


def build(store, outcome="work"):
    return run("build", "--store", store, "--", sys.executable, "-c", BUILD, outcome)


def link(store, to):
    return run("link", "--store", store, "--to", to)


def export_again(store, precision):
    manifest = {"request": {"precision": precision}}
    (store / "export" / "manifest.json").write_text(json.dumps(manifest))


def test_the_key_names_gpu_tensorrt_fovea_and_export(machine, store, capfd):
    key = engine_key.key(store)
    assert run("show", "--store", store) == 0
    assert capfd.readouterr().out == f"{key}\n"
    version = engine_key.fovea_version()
    export = engine_key.export_hash(store)[:12]
    assert key == f"nvidia-l4-sm89-trt10.14.1-fovea{version}-{export}"


def test_gpus_of_one_compute_capability_share_no_engines(machine):
    names = set()
    for listed in (A40, A10, MIG):
        machine(listed, "8.6")
        names.add(engine_key.gpu())
    assert names == {"nvidia-a40-sm86", "nvidia-a10-sm86", "nvidia-a100-sxm4-40gb-mig-1g.5gb-sm86"}


def test_a_machine_with_two_kinds_of_gpu_has_no_key(machine, store, capfd):
    machine(L4 + A40.replace("GPU 0", "GPU 1"), "8.9")
    assert link(store, store / "models") == 1
    assert "expected GPUs of one name, got" in capfd.readouterr().err


def test_engines_are_built_once_and_linked_by_their_key(machine, store, tmp_path, capfd):
    to = tmp_path / "models"
    assert link(store, to) == 1
    assert "has the job that builds engines ended?" in capfd.readouterr().err
    assert build(store) == 0 and build(store, "fail") == 0
    assert link(store, to) == 0
    assert to.resolve() == store / engine_key.key(store) / "model_repository"
    assert not list(store.glob(".building-*"))


def test_another_export_or_another_gpu_has_its_own_engines(machine, store, tmp_path):
    to = tmp_path / "models"
    assert build(store) == 0 and link(store, to) == 0
    before = to.resolve()
    export_again(store, "fp32")
    assert link(store, to) == 1, "the old engines are not the new export's"
    assert build(store) == 0 and link(store, to) == 0
    assert to.resolve() != before and before.is_dir(), "servers still run on the old ones"
    machine(A40, "8.6")
    assert link(store, to) == 1


def test_a_folder_without_its_last_file_is_not_done_and_its_work_is_kept(machine, store):
    assert build(store) == 0
    folder = store / engine_key.key(store)
    (folder / "done.json").unlink()
    assert link(store, store / "models") == 1
    assert build(store) == 0
    assert (folder / "built").read_text() == "first second "


def test_a_retry_continues_where_the_failed_build_stopped(machine, store):
    assert build(store, "fail") == 1
    folder = store / engine_key.key(store)
    assert not folder.exists(), "nothing half built is served"
    assert build(store) == 0
    assert (folder / "built").read_text() == "first second "


def test_without_an_export_the_reason_is_printed(machine, store, capfd):
    shutil.rmtree(store / "export")
    assert build(store) == 1
    assert "has the job that exports ended?" in capfd.readouterr().err
