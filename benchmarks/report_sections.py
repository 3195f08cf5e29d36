"""The parts of report.md beside the loads: baselines, many prompts, pictures and verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.markdown import NOTHING, number, table
from benchmarks.networks import COMPILED, EAGER, ONNX, best
from benchmarks.results import NetworkResult, PipelineResult, Results, TargetResult


def pipelines(results: Results) -> str:
    """main_object by every side."""
    if not results.pipelines:
        return ""
    rows = [
        [
            side.side,
            side.batch,
            side.pictures_per_s.text(2),
            f"{side.ratio.text(2)}",
            _accuracy(side),
        ]
        for side in results.pipelines
    ]
    columns = ["side", "batch or callers", "pictures a second", "served is … times", "accuracy"]
    note = (
        "`transformers` is the plain pipeline, picture by picture. `pytorch` runs the same steps "
        "as the server in one process, batched, each network compiled where that is faster; "
        "`onnxruntime` likewise, with the very graphs that are served. All get the same JPEGs, in "
        "turns; ratios are of one round."
    )
    return f"## main_object against its baselines\n\n{note}\n\n{table(columns, rows)}"


def _accuracy(side: PipelineResult) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in side.accuracy.items()) or NOTHING


def networks(results: Results) -> str:
    """Each network's best batch by side, and all batch sizes."""
    names = list(dict.fromkeys(result.network for result in results.networks))
    if not names:
        return ""
    served = {target.name: target for target in results.of_kind("network")}
    rows = [_network_row(results, name, served.get(name)) for name in names]
    columns = [
        "network", "pytorch, rows/s", "compiled, rows/s", "onnxruntime, rows/s",
        "onnxruntime / pytorch", "through Triton, rows/s", "Triton / onnxruntime",
    ]  # fmt: skip
    curves = [
        [r.network, r.side, r.batch, r.batch_ms.text(2), r.rows_per_s.text()]
        for r in results.networks
    ]
    return "\n\n".join(
        [
            "## Networks called directly",
            "The best batch of each, in brackets; answers come back to the host everywhere.",
            table(columns, rows),
            "### By batch size",
            table(["network", "side", "batch", "ms", "rows a second"], curves),
        ]
    )


def _network_row(results: Results, name: str, served: TargetResult | None) -> list[object]:
    eager, compiled, onnx = (best(results.networks, name, s) for s in (EAGER, COMPILED, ONNX))
    triton = served.peak.throughput.median if served else None
    return [
        name,
        _best(eager),
        _best(compiled),
        _best(onnx),
        _ratio(_rate(onnx), _rate(eager)),
        number(triton),
        _ratio(triton, _rate(onnx)),
    ]


def _best(result: NetworkResult | None) -> str:
    return f"{number(_rate(result))} ({result.batch})" if result else NOTHING


def _rate(result: NetworkResult | None) -> float | None:
    return result.rows_per_s.median if result else None


def _ratio(above: float | None, below: float | None) -> str:
    return number(above / below, 2) if above and below else NOTHING


def many_prompts(section: Mapping[str, Any]) -> str:
    """Boxes on one picture."""
    if not section.get("rows"):
        return ""
    rows = [
        [row["boxes"], _spread(row["first_ms"]), _spread(row["again_ms"])]
        for row in section["rows"]
    ]
    note = ""
    if "growth" in section:
        most = section["rows"][-1]["boxes"]
        note = (
            f"\n\nOn a known picture {most} boxes take {section['growth']:.1f} times as long as "
            f"one: {section['base_ms']:.1f} ms and {section['slope_ms']:.2f} ms a box. Between "
            f"the two greatest counts a box costs {section['last_step']:.2f} times that. The "
            f"first prompt on a picture takes {section['second_prompt_ratio']:.1f} times as long "
            "as the second."
        )
    columns = ["boxes", "ms, new picture", "ms, same picture again"]
    return f"## Many prompts on one picture, in one request\n\n{table(columns, rows)}{note}"


def many_pictures(section: Mapping[str, Any]) -> str:
    """A folder by the batch verb."""
    if not section.get("rows"):
        return ""
    rows = [
        [
            row["pictures"],
            number(row["megapixels"]),
            number(row["seconds"]),
            number(row["pictures_per_s"]),
            number(row["slowest_part"], 2),
            ", ".join(f"{name} {count}" for name, count in row["outcomes"].items()),
        ]
        for row in section["rows"]
    ]
    columns = ["pictures", "megapixels", "s", "a second", "slowest tenth / median", "outcomes"]
    note = ""
    if "cost_ratio" in section:
        note = f"\n\nOne of many costs {section['cost_ratio']:.2f} times what one of few costs."
    title = "## A folder of pictures of mixed sizes, by `main_object_many`"
    return f"{title}\n\n{table(columns, rows)}{note}"


def mixed_verbs(section: Mapping[str, Any]) -> str:
    """All verbs at once."""
    if not section.get("rows"):
        return ""
    rows = [
        [
            row["verb"],
            _spread(row["alone_per_s"]),
            _spread(row["mixed_per_s"]),
            _spread(row["kept"], 2),
            _spread(row["alone_p99_ms"]),
            _spread(row["mixed_p99_ms"]),
            _spread(row["slower"]),
        ]
        for row in section["rows"]
    ]
    columns = [
        "verb", "a second alone", "in the mix", "kept", "p99 ms alone", "in the mix",
        "times slower",
    ]  # fmt: skip
    starved = ", ".join(section["starved"]) or "none"
    note = (
        f"{section['callers_each']} callers for each verb. A fair share of the machine is "
        f"{section['fair_share']:.2f} of what a verb has alone; the least that one kept is "
        f"{section['least_kept']:.2f}, all together kept {section['total_kept']:.2f}. Verbs with "
        f"less than half of their share: {starved}."
    )
    return f"## All verbs at once\n\n{note}\n\n{table(columns, rows)}"


def cross_check(section: Mapping[str, Any]) -> str:
    """perf_analyzer beside the harness."""
    title = "## Cross-check with perf_analyzer"
    if "missing" in section:
        return f"{title}\n\nNot done: {section['missing']}."
    if not section.get("rows"):
        return ""
    rows = [
        [
            row["target"],
            row["concurrency"],
            number(row["ours_per_s"]),
            number(row["theirs_per_s"]),
            _ratio(row["ours_per_s"], row["theirs_per_s"]),
            number(row["ours_p50_ms"]),
            number(row["theirs_p50_ms"]),
            number(row["ours_p99_ms"]),
            number(row["theirs_p99_ms"]),
        ]
        for row in section["rows"]
    ]
    columns = [
        "ensemble", "callers", "a second, ours", "theirs", "ours / theirs", "p50 ms, ours",
        "theirs", "p99 ms, ours", "theirs",
    ]  # fmt: skip
    return f"{title}\n\n{table(columns, rows)}"


def _spread(spread: Mapping[str, Any], digits: int = 1) -> str:
    middle = number(spread["median"], digits)
    if len(spread["values"]) < 2:
        return middle
    return f"{middle} ({number(spread['least'], digits)} to {number(spread['greatest'], digits)})"
