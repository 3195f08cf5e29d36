"""Where the server's time goes: Triton's own statistics, per model."""

from __future__ import annotations

from dataclasses import dataclass, fields

import tritonclient.grpc as triton


@dataclass(frozen=True)
class ModelStatistics:
    """Counters of one model since the server started, or between two readings (`since`).

    inferences: requests' rows answered. executions: runs of the model; fewer than inferences
    where requests were batched. cache_hits: answered by the response cache. Times in seconds,
    summed over requests: waiting in the queue, preparing inputs, computing, writing outputs.
    """

    inferences: int = 0
    executions: int = 0
    failures: int = 0
    cache_hits: int = 0
    queue_s: float = 0.0
    input_s: float = 0.0
    compute_s: float = 0.0
    output_s: float = 0.0

    @property
    def mean_batch(self) -> float:
        """Rows per execution."""
        return self.inferences / self.executions if self.executions else 0.0

    def since(self, earlier: ModelStatistics) -> ModelStatistics:
        """What came between an earlier reading and this one."""
        return ModelStatistics(
            *(getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self))
        )


def read_statistics(url: str) -> dict[str, ModelStatistics]:
    """The counters of every model of the server at `url` (host:port of its gRPC endpoint)."""
    with triton.InferenceServerClient(url) as client:
        answer = client.get_inference_statistics()
    return {model.name: _read(model) for model in answer.model_stats}


def difference(
    later: dict[str, ModelStatistics], earlier: dict[str, ModelStatistics]
) -> dict[str, ModelStatistics]:
    """Per model, what came between two readings."""
    return {
        name: counters.since(earlier.get(name, ModelStatistics()))
        for name, counters in later.items()
    }


def _read(model: triton.service_pb2.ModelStatistics) -> ModelStatistics:
    stats = model.inference_stats
    return ModelStatistics(
        inferences=model.inference_count,
        executions=model.execution_count,
        failures=stats.fail.count,
        cache_hits=stats.cache_hit.count,
        queue_s=stats.queue.ns / 1e9,
        input_s=stats.compute_input.ns / 1e9,
        compute_s=stats.compute_infer.ns / 1e9,
        output_s=stats.compute_output.ns / 1e9,
    )
