"""Where the time of a request goes, from Triton's own statistics."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping

from fovea_client.statistics import ModelStatistics

from benchmarks.exports import (
    CLIP_IMAGE_ENCODER,
    CLIP_TEXT_ENCODER,
    GROUNDING_DINO,
    NETWORKS,
    SAM_IMAGE_ENCODER,
    SAM_MASK_DECODER,
)

Statistics = Mapping[str, ModelStatistics]

PARTS = ("network", "queue", "input", "compute", "output")
CACHE_HITS = "fovea_embedding_cache_hits_total"


def split_ms(
    model: str, spent: Statistics, ensembles: frozenset[str], latency_s: float
) -> dict[str, float]:
    """Milliseconds per request to `model` by PARTS; empty where it answered none.

    network: what the caller saw (`latency_s`, the mean) and Triton did not: the wire, gRPC and
    the client. The others are summed over all models that worked on the request. Some of those run
    at the same time, so the sum may exceed the latency.
    """
    whole = spent[model]
    if not whole.successes:
        return {}
    steps = [counters for name, counters in spent.items() if name not in ensembles]
    split = {"network": 1000 * max(0.0, latency_s - whole.total_s / whole.successes)}
    for part in PARTS[1:]:
        seconds = sum(getattr(counters, f"{part}_s") for counters in steps)
        split[part] = 1000 * seconds / whole.successes
    return split


def steps_ms(spent: Statistics, requests: int, ensembles: frozenset[str]) -> dict[str, float]:
    """Milliseconds per request by the model that spent them; queues and ensembles left out."""
    return {
        name: 1000 * (counters.input_s + counters.compute_s + counters.output_s) / requests
        for name, counters in spent.items()
        if counters.successes and name not in ensembles
    }


def mean_batches(spent: Statistics) -> dict[str, float]:
    """Rows per execution of each network that ran."""
    return {name: spent[name].mean_batch for name in NETWORKS if spent[name].executions}


def read_cache_hits(metrics_url: str) -> int:
    """How many of SAM's embeddings the server has found in its cache so far."""
    from prometheus_client.parser import text_string_to_metric_families  # of the extra `bench`

    with urllib.request.urlopen(metrics_url) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = (sample for family in families for sample in family.samples)
        return int(sum(sample.value for sample in samples if sample.name == CACHE_HITS))


def critical_path_s(spent: Statistics) -> float:
    """Compute that a request waits for: SAM's encoder runs beside CLIP and GroundingDINO."""
    seconds = {name: spent[name].compute_s for name in NETWORKS}
    picking = seconds[CLIP_IMAGE_ENCODER] + seconds[GROUNDING_DINO]
    cutting = max(picking, seconds[SAM_IMAGE_ENCODER]) + seconds[SAM_MASK_DECODER]
    return cutting + seconds[CLIP_TEXT_ENCODER]


def overhead_share(spent: Statistics, requests: int, latency_s: float) -> float:
    """The share of the time of consecutive requests that is not the networks' compute."""
    return 1 - critical_path_s(spent) / requests / latency_s
