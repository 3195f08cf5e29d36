"""What a model repository's own configuration says about a verb, and a copy that waits."""

from __future__ import annotations

import shutil
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from benchmarks.capacity.errors import InvalidReport
from benchmarks.capacity.service_times import CPU, GPU, BatchCurve, Step
from export.assembly import link_or_copy

_CONFIG = "config.pbtxt"
_GPU_KINDS = (pb.ModelInstanceGroup.KIND_GPU, pb.ModelInstanceGroup.KIND_AUTO)
# A step is known before its times are.
_UNKNOWN = BatchCurve((1,), (1.0,))


def read_config(repository: Path, model: str) -> pb.ModelConfig:
    """A model's configuration; raises InvalidReport if it is missing."""
    path = repository / model / _CONFIG
    if not path.is_file():
        raise InvalidReport(f"{path} does not exist: is this a model repository?")
    return text_format.Parse(path.read_text(), pb.ModelConfig())


def read_steps(repository: Path, verb: str, *, gpu: bool) -> tuple[Step, ...]:
    """The steps of an ensemble, in its own order; their times are not measured yet.

    gpu: whether the machine has one; all models that can then run on it.
    """
    steps = read_config(repository, verb).ensemble_scheduling.step
    makers = {tensor: step.model_name for step in steps for tensor in step.output_map.values()}
    known = []
    for step in steps:
        after = {makers[tensor] for tensor in step.input_map.values() if tensor in makers}
        known.append(_step(read_config(repository, step.model_name), tuple(sorted(after)), gpu=gpu))
    return tuple(known)


def _step(config: pb.ModelConfig, after: tuple[str, ...], *, gpu: bool) -> Step:
    batching, groups = config.dynamic_batching, config.instance_group
    if batching.max_queue_delay_microseconds:
        raise InvalidReport(
            f"expected no batching delay, which is not simulated, got one of {config.name}"
        )
    return Step(
        model=config.name,
        after=after,
        curve=_UNKNOWN,
        place=GPU if gpu and all(group.kind in _GPU_KINDS for group in groups) else CPU,
        instances=sum(group.count for group in groups),
        max_batch=max(1, config.max_batch_size),
        max_queue=batching.default_queue_policy.max_queue_size,
    )


def copy_with_delay(repository: Path, out: Path, delay_us: int) -> Path:
    """A second repository of the same files, with this delay in every batcher."""
    shutil.copytree(repository, out, copy_function=link_or_copy)
    for path in out.glob(f"*/{_CONFIG}"):
        config = text_format.Parse(path.read_text(), pb.ModelConfig())
        if config.HasField("dynamic_batching"):
            config.dynamic_batching.max_queue_delay_microseconds = delay_us
            path.unlink()  # the original's too
            path.write_text(text_format.MessageToString(config))
    return out
