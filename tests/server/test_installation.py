import multiprocessing
import os
import re
import stat
import sys
from pathlib import Path

import fovea_server
import pytest
from fovea_server import ServerOptions, TritonserverNotFoundError, installation, triton_log
from fovea_server.__main__ import parse
from fovea_server.administration import has_instance
from fovea_server.installation import find_tritonserver, prepare_backends
from fovea_server.ports import choose_ports


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path))
    return tmp_path


def program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    path.chmod(0o755)
    return path


def test_the_public_names():
    assert fovea_server.__all__ == [
        "EmbeddedServer",
        "ModelLoadError",
        "RepositoryError",
        "RestartLimitError",
        "ServerError",
        "ServerOptions",
        "StartError",
        "TritonserverNotFoundError",
        "UnwritableError",
        "serve",
    ]


def test_the_variable_comes_before_the_path_and_the_path_before_the_wheel(tmp_path, monkeypatch):
    on_path = program(tmp_path / "bin" / "tritonserver")
    chosen = program(tmp_path / "chosen")
    monkeypatch.delenv("FOVEA_TRITONSERVER", raising=False)
    assert "pytriton" in str(find_tritonserver())
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_tritonserver() == on_path
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(chosen))
    assert find_tritonserver() == chosen


def test_a_variable_that_names_no_program_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(tmp_path / "nothing"))
    with pytest.raises(TritonserverNotFoundError, match="nothing is not a program"):
        find_tritonserver()


def test_without_any_tritonserver_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.delenv("FOVEA_TRITONSERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "_WHEEL_MODULE", "no_such_module")
    # On Python 3.13 the extra cannot install the wheel, which requires numpy 1.
    numpy_2 = sys.version_info >= (3, 13)
    what = "--no-deps nvidia-pytriton==" if numpy_2 else "'fovea[server]'"
    with pytest.raises(TritonserverNotFoundError, match=re.escape(f"pip install {what}")):
        find_tritonserver()


def test_the_assembled_folder_has_an_executable_stub_and_our_backend(cache):
    backends = prepare_backends()
    assert backends.folder.parent == cache / "backends"
    assert os.access(backends.folder / "python" / installation.STUB, os.X_OK)
    assert (backends.folder / "onnxruntime" / "model.py").is_file()
    assert not backends.official_onnxruntime
    assert backends.folder == prepare_backends().folder


def test_an_official_onnxruntime_backend_is_kept(cache, tmp_path, monkeypatch):
    root = tmp_path / "tritonserver"
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(program(root / "bin" / "tritonserver")))
    program(root / "backends" / "onnxruntime" / installation.OFFICIAL_ONNXRUNTIME)
    program(root / "backends" / "python" / installation.STUB)
    backends = prepare_backends()
    assert backends.folder == root / "backends" and backends.official_onnxruntime


def test_an_installation_without_onnxruntime_gets_ours_beside_its_own_backends(
    cache, tmp_path, monkeypatch
):
    root = tmp_path / "tritonserver"
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(program(root / "bin" / "tritonserver")))
    stub = program(root / "backends" / "python" / installation.STUB)
    program(root / "backends" / "tensorrt" / "libtriton_tensorrt.so")
    folder = prepare_backends().folder
    assert (folder / "tensorrt" / "libtriton_tensorrt.so").is_file()
    assert (folder / "onnxruntime" / "model.py").is_file()
    assert stat.S_IMODE((folder / "python" / stub.name).stat().st_mode) & stat.S_IXUSR


def _folder(_):
    return str(prepare_backends().folder)


def test_processes_that_assemble_at_once_end_with_one_folder(cache):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        folders = pool.map(_folder, range(8), chunksize=1)
    assert {Path(folder).name for folder in folders} == set(os.listdir(cache / "backends"))


def test_the_environment_puts_this_python_first(cache):
    environment = prepare_backends().environment({"PATH": "/bin", "LD_LIBRARY_PATH": "/mine"})
    assert environment["PATH"].endswith(f"{os.pathsep}/bin")
    assert environment["LD_LIBRARY_PATH"].split(os.pathsep)[-1] == "/mine"
    assert "OMP_NUM_THREADS" not in environment


def test_free_ports_differ_and_fixed_ports_stay():
    ports = choose_ports(ServerOptions(model_repository=Path(), grpc_port=0, http_port=0))
    assert ports.metrics == 8002
    assert len({ports.grpc, ports.http, ports.metrics}) == 3 and 0 not in vars(ports).values()


def test_log_reasons_lose_meaningless_words():
    log = "\n".join(
        [
            r"""E1121 1 x.cc:642] "failed to load 'a' version 1: Internal: TritonModelException: """
            r"""model 'a' is "odd"\n\nAt:\n  /m/model.py(4): initialize\n\"""",
            r"""E1121 1 x.cc:642] "failed to load 'b' version 1: Internal: KeyError: 'x'"""
            r"""\n\nAt:\n  /m/model.py(4): initialize\n\"""",
        ]
    ).replace('\\"', '"')
    assert triton_log.load_failures(log) == {
        "a": "model 'a' is \"odd\"",
        "b": "KeyError: 'x'\n\nAt:\n  /m/model.py(4): initialize",
    }


@pytest.mark.parametrize(
    ("instance", "group"),
    [("sam_0_1", "sam_0"), ("sam_0_1_gpu0", "sam_0"), ("mine_0", "mine"), ("a_gpu1_0", "a_gpu1")],
)
def test_an_instance_name_contains_its_group_and_its_number(instance, group):
    assert has_instance({"instance_group": [{"name": group, "count": 2}]}, instance)
    assert not has_instance({"instance_group": [{"name": f"not_{group}", "count": 2}]}, instance)
    assert not has_instance({"instance_group": [{"name": group, "count": 0}]}, instance)


def test_every_option_is_a_flag_with_its_default():
    assert parse(["models"]) == (ServerOptions(model_repository=Path("models")), False)


def test_flags_reach_the_options():
    flags = ["--no-strict-readiness", "--grpc-port=5", "--closed-apis", "trace logging"]
    options, json_line = parse(["models", *flags, "--json", "--", "--id=mine", "--log-info=true"])
    assert options == ServerOptions(
        model_repository=Path("models"),
        strict_readiness=False,
        grpc_port=5,
        closed_apis=("trace", "logging"),
        extra_args=("--id=mine", "--log-info=true"),
    )
    assert json_line
