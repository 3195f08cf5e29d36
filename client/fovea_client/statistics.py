"""Reads where the server's time goes: Triton's own statistics, per model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import tritonclient.grpc as triton


@dataclass(frozen=True)
class BatchStatistics:
    """The executions of one batch size, and their seconds, summed.

    compute_s: computing. total_s: also preparing inputs and writing outputs.
    """

    executions: int = 0
    compute_s: float = 0.0
    total_s: float = 0.0

    def plus(self, other: BatchStatistics, sign: int = 1) -> BatchStatistics:
        """The sum of both; with sign -1, the difference."""
        return BatchStatistics(
            self.executions + sign * other.executions,
            self.compute_s + sign * other.compute_s,
            self.total_s + sign * other.total_s,
        )


@dataclass(frozen=True)
class ModelStatistics:
    """Counters of one model since the server started, or between two readings (`since`).

    inferences: requests' rows answered. executions: runs of the model; fewer than inferences if
    requests were batched. cache_hits: answered by the response cache. successes: requests answered,
    and total_s their seconds in the server. Times in seconds, summed over requests: waiting in the
    queue, preparing inputs, computing, writing outputs; an ensemble's are the sums over its steps,
    even if they run at the same time. batches: by rows.
    """

    inferences: int = 0
    executions: int = 0
    failures: int = 0
    cache_hits: int = 0
    successes: int = 0
    total_s: float = 0.0
    queue_s: float = 0.0
    input_s: float = 0.0
    compute_s: float = 0.0
    output_s: float = 0.0
    batches: Mapping[int, BatchStatistics] = field(default_factory=dict)

    @property
    def mean_batch(self) -> float:
        """Rows per execution."""
        return self.inferences / self.executions if self.executions else 0.0

    @property
    def busy_s(self) -> float:
        """Seconds of all executions, from the start of each to its end."""
        return sum(batch.total_s for batch in self.batches.values())

    def since(self, earlier: ModelStatistics) -> ModelStatistics:
        """The difference to an earlier reading."""
        return self._combined(earlier, -1)

    def plus(self, other: ModelStatistics) -> ModelStatistics:
        """The sum of two spans."""
        return self._combined(other, 1)

    def _combined(self, other: ModelStatistics, sign: int) -> ModelStatistics:
        counters = {
            name: value + sign * getattr(other, name)
            for name, value in vars(self).items()
            if name != "batches"
        }
        none = BatchStatistics()
        batches = {
            rows: self.batches.get(rows, none).plus(other.batches.get(rows, none), sign)
            for rows in sorted({*self.batches, *other.batches})
        }
        return ModelStatistics(**counters, batches=batches)


def read_statistics(url: str) -> dict[str, ModelStatistics]:
    """The counters of every model of the server at `url` (host:port of its gRPC endpoint)."""
    with triton.InferenceServerClient(url) as client:
        answer = client.get_inference_statistics()
    return {model.name: _read(model) for model in answer.model_stats}


def difference(
    later: dict[str, ModelStatistics], earlier: dict[str, ModelStatistics]
) -> dict[str, ModelStatistics]:
    """Per model, the difference between two readings."""
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
        successes=stats.success.count,
        total_s=stats.success.ns / 1e9,
        queue_s=stats.queue.ns / 1e9,
        input_s=stats.compute_input.ns / 1e9,
        compute_s=stats.compute_infer.ns / 1e9,
        output_s=stats.compute_output.ns / 1e9,
        batches={batch.batch_size: _read_batch(batch) for batch in model.batch_stats},
    )


def _read_batch(batch: triton.service_pb2.InferBatchStatistics) -> BatchStatistics:
    parts = (batch.compute_input, batch.compute_infer, batch.compute_output)
    return BatchStatistics(
        executions=batch.compute_infer.count,
        compute_s=batch.compute_infer.ns / 1e9,
        total_s=sum(part.ns for part in parts) / 1e9,
    )
