"""The only TensorRT build: ONNX and a profile to an engine, with TensorRT or TensorRT for RTX.

The two libraries have one API. Networks are strongly typed: each layer runs in the precision that
its graph states, and fp32 is fp32 (TF32 has the mantissa of half). TensorRT builds for the GPU that
it runs on; TensorRT for RTX builds for any given one, and needs none.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from export.errors import EngineError
from export.profiles import Profile

# SAM's layers with 8 pictures: of the mask decoder over 4 GiB, of the image encoder in fp32 over 8.
WORKSPACE_BYTES = 16 * 2**30


@dataclass(frozen=True)
class Library:
    """A TensorRT, by the name of its Python module.

    chooses_target: builds for GPUs other than this machine's. timing_cache: keeps kernel timings
    (RTX measures them at load time, on the user's machine).
    """

    name: str
    package: str
    chooses_target: bool
    timing_cache: bool

    def load(self) -> ModuleType:
        """The module; raises EngineError if it is not installed."""
        try:
            return importlib.import_module(self.name)
        except ImportError as error:
            raise EngineError(f"{self.name} is missing: pip install {self.package}") from error

    @property
    def version(self) -> str:
        return str(self.load().__version__)


LIBRARIES = {
    library.name: library
    for library in (
        Library("tensorrt", "tensorrt", chooses_target=False, timing_cache=True),
        Library("tensorrt_rtx", "'fovea[engines]'", chooses_target=True, timing_cache=False),
    )
}


def local_compute_capability() -> str | None:
    """That of this machine's first CUDA device, such as "8.6"; None without one."""
    import torch  # takes seconds, and building does not need it

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability(0)
    return f"{major}.{minor}"


def local_gpu() -> str | None:
    """The name of this machine's first CUDA device, with its MIG profile; None without one."""
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None


def build(
    path: Path,
    profile: Profile,
    library: Library,
    compute_capability: str,
    timing_cache: Path | None = None,
    workspace_bytes: int = WORKSPACE_BYTES,
) -> bytes:
    """The engine of the graph at `path`; raises EngineError with the library's own reasons.

    timing_cache: read before and written after, if the library keeps one. workspace_bytes: GPU
    memory that a layer may take; the library's own default is all of it.
    """
    trt = library.load()
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        reasons = (parser.get_error(i) for i in range(parser.num_errors))
        raise EngineError(
            f"{path.name}: {library.name} cannot parse "
            + "; ".join(f"{r.node_name()} ({r.node_operator()}): {r.desc()}" for r in reasons)
        )
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    _add_profile(builder, config, network, profile)
    if library.chooses_target:
        _set_target(trt, config, compute_capability)
    cached = timing_cache if library.timing_cache else None
    if cached:
        content = cached.read_bytes() if cached.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"{path.name}: {library.name} cannot build it for SM {compute_capability}: "
            + "; ".join(log.errors)
        )
    if cached:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def unsupported_nodes(path: Path, library: Library) -> list[str]:
    """Names and operators of the nodes that the parser puts into no subgraph.

    The parser reports the subgraphs between them, as unsupported if any node is. An empty list does
    not mean that the graph builds: see `build`.
    """
    trt = library.load()
    log = _log(trt)
    builder = trt.Builder(log)
    # The parser fills the network as it checks.
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    parser.supports_model_v2(path.read_bytes())
    subgraphs = (parser.get_subgraph_nodes(i) for i in range(parser.num_subgraphs))
    supported = {node for subgraph in subgraphs for node in subgraph}
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return [f"{node.name} ({node.op_type})" for i, node in enumerate(nodes) if i not in supported]


def _add_profile(builder: Any, config: Any, network: Any, profile: Profile) -> None:
    shapes = dict(profile.shapes)
    inputs = [network.get_input(i).name for i in range(network.num_inputs)]
    if sorted(inputs) != sorted(shapes):
        raise EngineError(f"expected inputs {sorted(shapes)}, the graph has {sorted(inputs)}")
    optimization = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in shapes.items():
        optimization.set_shape(name, smallest, usual, largest)
    config.add_optimization_profile(optimization)


def _set_target(trt: ModuleType, config: Any, compute_capability: str) -> None:
    name = f"SM{compute_capability.replace('.', '')}"
    known = [n for n in dir(trt.ComputeCapability) if n.startswith("SM")]
    if name not in known:
        raise EngineError(f"expected one of {', '.join(known)}, got compute capability {name}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, name), 0)


def _log(trt: ModuleType) -> Any:
    """A logger that keeps errors for the exception and drops the rest."""

    class Log(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()
