"""How Triton runs the networks; names, shapes, ensembles and steps never change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from export.errors import RuntimeUnavailable
from export.grid_sample import GridSample
from export.parity import Session, open_onnxruntime
from export.precision import Policy, Precision
from export.profiles import profile
from fovea.limits import Limits
from fovea.openvino_session import OpenVinoSession
from fovea.specs import ModelSpec

# Engines reserve memory for their largest shapes when they load: 8 pictures of 128 prompts would
# take tens of gigabytes for SAM's decoder.
ENGINE_PROMPTS = 32
# Where ONNX Runtime's TensorRT provider keeps the engines that it builds when a model loads; the
# server must be able to write there.
ENGINE_CACHE = "/var/cache/fovea/tensorrt"


@dataclass(frozen=True)
class Runtime:
    """A backend of Triton with its settings.

    accelerator: ONNX Runtime's execution provider, by Triton's name, or "". grid_sample: how
    deformable attention samples by default. max_prompts: most boxes or point sets for one picture,
    or None for the deployment's own limit. precisions: those that it runs.
    """

    name: str
    backend: str = "onnxruntime"
    platform: str = ""
    instance_kind: str = ""
    accelerator: str = ""
    grid_sample: GridSample = "native"
    max_prompts: int | None = None
    precisions: tuple[Precision, ...] = ("fp32", "fp16")

    @property
    def needs_engines(self) -> bool:
        """Whether the networks' files are engines, built from ONNX on the target GPU."""
        return self.backend == "tensorrt"

    def limit(self, limits: Limits) -> Limits:
        """Cap the prompts at this runtime's limit."""
        return replace(limits, prompts=min(limits.prompts, self.max_prompts or limits.prompts))

    def open_session(self, path: Path, precision: Precision) -> Session:
        """A network of this precision as the server will run it, if this machine can.

        Raises RuntimeUnavailable if the package openvino is needed and missing.
        """
        if self.accelerator != "openvino":
            return open_onnxruntime(path)
        try:
            return OpenVinoSession(path, precision=precision)
        except ImportError as error:
            raise RuntimeUnavailable(
                f"runtime {self.name} needs the package openvino (pip install 'fovea[openvino]')"
            ) from error


ONNXRUNTIME = Runtime("onnxruntime", precisions=("fp32", "fp16", "int8"))
RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        ONNXRUNTIME,
        Runtime(
            "onnxruntime-openvino",
            instance_kind="KIND_CPU",
            accelerator="openvino",
            precisions=("fp32", "bf16", "bf16-int8"),
        ),
        Runtime("onnxruntime-cuda", instance_kind="KIND_GPU", accelerator="cuda"),
        Runtime(
            "onnxruntime-tensorrt",
            instance_kind="KIND_GPU",
            accelerator="tensorrt",
            grid_sample="gather",
            max_prompts=ENGINE_PROMPTS,
        ),
        Runtime(
            "tensorrt",
            backend="tensorrt",
            platform="tensorrt_plan",
            instance_kind="KIND_GPU",
            grid_sample="gather",
            max_prompts=ENGINE_PROMPTS,
        ),
    )
}


def cpu_runtime(precision: Precision) -> Runtime:
    """The first runtime that runs networks of this precision without a GPU."""
    on_cpu = (r for r in RUNTIMES.values() if r.instance_kind != "KIND_GPU")
    return next(runtime for runtime in on_cpu if precision in runtime.precisions)


def configure(
    config: pb.ModelConfig,
    spec: ModelSpec,
    limits: Limits,
    runtime: Runtime,
    precision: Precision,
    policy: Policy,
) -> pb.ModelConfig:
    """A network's configuration, changed in place for the runtime, and returned."""
    config.backend = runtime.backend
    config.platform = runtime.platform
    if runtime.instance_kind:
        kind = pb.ModelInstanceGroup.Kind.Value(runtime.instance_kind)
        config.instance_group[0].kind = kind
    if runtime.accelerator == "openvino":
        accelerator = config.optimization.execution_accelerators.cpu_execution_accelerator.add()
        accelerator.name = runtime.accelerator
        accelerator.parameters["precision"] = policy.takes(precision)
    elif runtime.accelerator:
        accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add()
        accelerator.name = runtime.accelerator
        if runtime.accelerator == "tensorrt":
            accelerator.parameters.update(_tensorrt_parameters(spec, limits, precision))
    return config


def _tensorrt_parameters(spec: ModelSpec, limits: Limits, precision: Precision) -> dict[str, str]:
    """The parameters of Triton's onnxruntime backend for the TensorRT provider.

    Up to TensorRT 10 the provider's networks are weakly typed: with fp16 allowed, TensorRT may use
    it for layers that the policy keeps. TensorRT 11 is strongly typed only, as are engines (runtime
    tensorrt) everywhere: each layer runs in the precision that its graph states.
    """
    shapes = dict(profile(spec, limits).shapes)

    def listed(kind: int) -> str:
        return ",".join(
            f"{name}:{'x'.join(str(edge) for edge in sizes[kind])}"
            for name, sizes in shapes.items()
        )

    return {
        "precision_mode": "FP16" if precision == "fp16" else "FP32",
        "trt_layer_norm_fp32_fallback": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": ENGINE_CACHE,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": ENGINE_CACHE,
        "trt_profile_min_shapes": listed(0),
        "trt_profile_opt_shapes": listed(1),
        "trt_profile_max_shapes": listed(2),
    }
