"""Opens an onnxruntime session for a Triton model configuration."""

import contextlib
import importlib
import os
import re
from collections.abc import Callable
from typing import Any

import onnxruntime
from fovea_server.installation import cache_folder

from fovea.cores import cores
from fovea.openvino_session import OpenVinoSession

Config = dict[str, Any]
Provider = tuple[str, dict[str, str]]
Session = onnxruntime.InferenceSession | OpenVinoSession

_GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_EXECUTION_MODES = {
    0: onnxruntime.ExecutionMode.ORT_SEQUENTIAL,
    1: onnxruntime.ExecutionMode.ORT_PARALLEL,
}
_ARENA_SHRINKAGE = "memory.enable_memory_arena_shrinkage"
_DEFAULT_FILE = "model.onnx"
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_OPENVINO = "OpenVINOExecutionProvider"
# Known reasons why a provider that this onnxruntime has does not start.
_NEEDS = {
    _CUDA: "it needs a GPU, its driver, and CUDA's libraries: pip install 'fovea[gpu]'",
    _TENSORRT: (
        "it needs the libnvinfer.so of the TensorRT release that it was built with, "
        "which another release of the package tensorrt does not have"
    ),
}
_ASKS_FOR_GPU = re.compile(r"\bkind\s*:\s*KIND_GPU\b")
# Options of the TensorRT accelerator that name a file or folder.
_CACHE_PATHS = ("trt_engine_cache_path", "trt_timing_cache_path")
_TENSORRT_OPTIONS = {"max_workspace_size_bytes": "trt_max_workspace_size"}


def open_session(
    config: Config, *, folder: str, kind: str, device_id: int, warn: Callable[[str], None]
) -> Session:
    """Open the model file of one version folder.

    With the CPU accelerator `openvino` it runs on the package openvino, else through the execution
    provider of onnxruntime-openvino, else it is refused.

    Args:
        config: the model configuration as Triton hands it over, parsed from JSON.
        folder: the version folder that holds the model file.
        kind: "GPU" or "CPU", where Triton placed this instance.
        device_id: the GPU's index; unused on the CPU.
        warn: called with one line if Triton placed the instance on a GPU that nobody asked for by
        name, and the session runs elsewhere.

    Raises:
        ValueError: the file is missing or broken, or the configuration asks for something that
            onnxruntime does not have, such as a GPU; the message names the model.
    """
    model = config["name"]
    path = os.path.join(folder, config.get("default_model_filename") or _DEFAULT_FILE)
    if not os.path.isfile(path):
        raise ValueError(f"model '{model}': the model file {path} does not exist")
    openvino = _openvino_accelerator(config)
    if openvino is not None:
        try:
            return _open_openvino(config, path, openvino, warn)
        except ImportError:
            pass  # onnxruntime itself may have it, see _cpu_provider
    wanted = _providers(config, kind, device_id)
    session = _open_onnxruntime(config, path, wanted)
    lost = [name for name, _ in wanted if name not in session.get_providers()]
    if lost:
        message = _lost(model, lost, session.get_providers())
        if _asks_for_gpu(config, folder):
            raise ValueError(message)
        warn(message)
    return session


def _open_onnxruntime(
    config: Config, path: str, wanted: list[Provider]
) -> onnxruntime.InferenceSession:
    """A session on the wanted providers that this onnxruntime was compiled with."""
    compiled = onnxruntime.get_available_providers()
    providers = [(name, options) for name, options in wanted if name in compiled]
    _preload([name for name, _ in providers])
    try:
        return onnxruntime.InferenceSession(
            path, sess_options=_session_options(config), providers=providers
        )
    except Exception as exc:
        raise ValueError(
            f"model '{config['name']}': onnxruntime cannot open {path}: {exc}"
        ) from exc


def _lost(model: str, lost: list[str], has: list[str]) -> str:
    """The providers that the session should have, those that it has, and what each one needs."""
    compiled = onnxruntime.get_available_providers()
    reasons = [
        f"{name}: {_NEEDS.get(name, 'see the lines above')}"
        if name in compiled
        else f"{name}: this onnxruntime has none, onnxruntime-gpu has: pip install 'fovea[gpu]'"
        for name in lost
    ]
    return (
        f"model '{model}': expected a session on {', '.join(lost)}, got {', '.join(has)} "
        f"({'; '.join(reasons)})"
    )


def _asks_for_gpu(config: Config, folder: str) -> bool:
    """Whether the configuration itself names a GPU: by an accelerator, or by KIND_GPU.

    Triton replaces KIND_AUTO by the kind that it chose, so only the file has the original.
    """
    accelerators = _section(config, "optimization", "execution_accelerators")
    if accelerators.get("gpu_execution_accelerator"):
        return True
    try:
        with open(os.path.join(os.path.dirname(folder), "config.pbtxt"), encoding="utf-8") as file:
            return bool(_ASKS_FOR_GPU.search(file.read()))
    except OSError:
        return False


def _preload(names: list[str]) -> None:
    """Load CUDA's and TensorRT's libraries from their Python packages, if installed.

    The provider's own library finds them by name alone once they are loaded.
    """
    if _CUDA in names and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    if _TENSORRT in names:
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt")


def _openvino_accelerator(config: Config) -> Config | None:
    accelerators = _section(config, "optimization", "execution_accelerators")
    found = accelerators.get("cpu_execution_accelerator") or ()
    return next((entry for entry in found if entry["name"] == "openvino"), None)


def _open_openvino(
    config: Config, path: str, accelerator: Config, warn: Callable[[str], None]
) -> OpenVinoSession:
    """Its parameter `precision` is fp32 (default), bf16 or bf16-int8; only this backend has it."""
    model = config["name"]
    precision = (accelerator.get("parameters") or {}).get("precision", "fp32")
    threads = _integer(config, "intra_op_thread_count", 0)
    try:
        session = OpenVinoSession(path, precision=precision, threads=threads)
    except ImportError:
        raise
    except Exception as exc:
        raise ValueError(f"model '{model}': openvino cannot open {path}: {exc}") from exc
    if session.precision != precision:
        warn(f"model '{model}': this processor has no {precision}, it runs in {session.precision}")
    return session


def run_options(config: Config) -> onnxruntime.RunOptions | None:
    """The options of each run, or None if the configuration names none."""
    value = _parameters(config).get(_ARENA_SHRINKAGE)
    if value is None:
        return None
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_ARENA_SHRINKAGE, value)
    return options


def _session_options(config: Config) -> onnxruntime.SessionOptions:
    parameters = _parameters(config)
    options = onnxruntime.SessionOptions()
    # Several networks share the cores, and a spinning thread takes one from its neighbour.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    level = int(_section(config, "optimization", "graph").get("level", 0))
    options.graph_optimization_level = _GRAPH_LEVELS.get(
        level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    )
    # By default, onnxruntime pins each thread to a core, and every process to the same ones.
    options.intra_op_num_threads = _integer(config, "intra_op_thread_count", 0) or cores()
    inter = _integer(config, "inter_op_thread_count", 0)
    if inter > 0:
        options.inter_op_num_threads = inter
    if "execution_mode" in parameters:
        mode = _integer(config, "execution_mode", 0)
        if mode not in _EXECUTION_MODES:
            raise ValueError(
                f"model '{config['name']}': parameter 'execution_mode' is {mode}, "
                "expected 0 (sequential) or 1 (parallel)"
            )
        options.execution_mode = _EXECUTION_MODES[mode]
    options.enable_cpu_mem_arena = bool(_integer(config, "enable_mem_arena", 1))
    options.enable_mem_pattern = bool(_integer(config, "enable_mem_pattern", 1))
    return options


def _providers(config: Config, kind: str, device_id: int) -> list[Provider]:
    """The providers that the configuration wants, best first, whether available or not."""
    accelerators = _section(config, "optimization", "execution_accelerators")
    providers: list[Provider] = []
    if kind == "GPU":
        for accelerator in accelerators.get("gpu_execution_accelerator", ()):
            providers.append(_gpu_provider(config["name"], accelerator, device_id))
        if all(name != _CUDA for name, _ in providers):
            providers.append((_CUDA, {"device_id": str(device_id)}))
    for accelerator in accelerators.get("cpu_execution_accelerator", ()):
        providers.append(_cpu_provider(config["name"], accelerator))
    return [*providers, (_CPU, {})]


def _gpu_provider(model: str, accelerator: Config, device_id: int) -> Provider:
    name = accelerator["name"]
    device = {"device_id": str(device_id)}
    if name == "cuda":
        return _CUDA, {**device, **accelerator.get("parameters", {})}
    if name == "tensorrt":
        return _TENSORRT, {**device, **_tensorrt_options(accelerator.get("parameters", {}))}
    raise ValueError(
        f"model '{model}': unknown gpu_execution_accelerator '{name}', "
        "expected 'tensorrt' or 'cuda'"
    )


def _tensorrt_options(parameters: dict[str, str]) -> dict[str, str]:
    options = {}
    for name, value in parameters.items():
        if name == "precision_mode":
            options["trt_fp16_enable"] = str(value == "FP16")
            options["trt_int8_enable"] = str(value == "INT8")
        elif name.startswith("trt_") or name in _TENSORRT_OPTIONS:
            options[_TENSORRT_OPTIONS.get(name, name)] = value
        if name in _CACHE_PATHS:
            options[name] = _writable(value)
    return options


def _writable(folder: str) -> str:
    """The folder, or one in the user's cache if it cannot be written, as outside the image."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if os.access(folder, os.W_OK):
        return folder
    instead = cache_folder() / "tensorrt"
    instead.mkdir(parents=True, exist_ok=True)
    return str(instead)


def _cpu_provider(model: str, accelerator: Config) -> Provider:
    name = accelerator["name"]
    if name != "openvino":
        raise ValueError(
            f"model '{model}': unknown cpu_execution_accelerator '{name}', expected 'openvino'"
        )
    if _OPENVINO not in onnxruntime.get_available_providers():
        raise ValueError(
            f"model '{model}': cpu_execution_accelerator 'openvino' needs the package openvino "
            "(pip install 'fovea[openvino]'), or onnxruntime-openvino in place of onnxruntime"
        )
    return _OPENVINO, {"device_type": "CPU"}


def _section(config: Config, *path: str) -> Config:
    for name in path:
        config = config.get(name) or {}
    return config


def _parameters(config: Config) -> dict[str, str]:
    return {
        name: entry.get("string_value", "")
        for name, entry in (config.get("parameters") or {}).items()
    }


def _integer(config: Config, name: str, default: int) -> int:
    value = _parameters(config).get(name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        raise ValueError(
            f"model '{config['name']}': parameter '{name}' is '{value}', expected an integer"
        ) from None
