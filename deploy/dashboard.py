"""`python -m deploy.dashboard`: writes Grafana's dashboard from the few lines that differ."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.model_names import ModelNames, production
from deploy.objectives import ANSWERED, FAST

DASHBOARD = Path(__file__).parent / "monitoring" / "dashboard.json"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3
_CHOSEN = 'namespace=~"$namespace"'


@dataclass(frozen=True)
class Panel:
    """One graph.

    Attributes:
        title, unit: in Grafana's terms.
        about: what the panel tells its reader.
        queries: legend -> PromQL; CHOSEN stands for the namespaces chosen above,
            ALL_MODELS for the number of a server's models.
        gpu: it shows nothing without a GPU.
    """

    title: str
    unit: str
    about: str
    queries: dict[str, str]
    gpu: bool = False


PANELS = (
    Panel(
        "Requests",
        "reqps",
        "Answers a second, by verb.",
        {"{{model}}": "sum by (model) (fovea:requests:rate5m{CHOSEN})"},
    ),
    Panel(
        "Failures",
        "percentunit",
        "Share of requests that failed through the server's fault.",
        {"{{namespace}}": "fovea:failure_ratio{CHOSEN}"},
    ),
    Panel(
        "Bad input",
        "reqps",
        "Refused because of the picture, the text or the prompts: the clients' fault.",
        {"{{reason}}": "sum by (reason) (fovea:bad_input:rate5m{CHOSEN})"},
    ),
    Panel(
        "Refused for overload",
        "reqps",
        "Above zero for minutes: add servers.",
        {"{{pod}}": "fovea:rejected:rate5m{CHOSEN}"},
    ),
    Panel(
        "Latency, 99th of 100",
        "s",
        "In the server, by verb; the slowest server.",
        {"{{model}}": 'fovea:latency_seconds:quantile{CHOSEN,quantile="0.99"}'},
    ),
    Panel(
        "Latency, median",
        "s",
        "In the server, by verb.",
        {"{{model}}": 'fovea:latency_seconds:quantile{CHOSEN,quantile="0.5"}'},
    ),
    Panel(
        "Latency, mean",
        "s",
        "In the server, by verb, over all servers.",
        {
            "{{model}}": "sum by (model) "
            "(fovea:latency_seconds:mean5m{CHOSEN} * fovea:requests:rate5m{CHOSEN})"
            " / (sum by (model) (fovea:requests:rate5m{CHOSEN}) > 0)"
        },
    ),
    Panel(
        "Waiting per request",
        "s",
        "The autoscalers use this.",
        {"{{pod}}": "fovea:queue_seconds_per_request{CHOSEN}"},
    ),
    Panel(
        "Waiting over computing",
        "none",
        "The model at the top is the bottleneck.",
        {"{{model}}": "max by (model) (fovea:queue_to_compute_ratio{CHOSEN})"},
    ),
    Panel(
        "Requests waiting",
        "short",
        "Now, in all queues.",
        {"{{pod}}": "fovea:pending_requests{CHOSEN}"},
    ),
    Panel(
        "Batch size",
        "none",
        "Rows per execution; 1 under load means that nothing is batched.",
        {"{{model}}": "fovea:batch_size:mean5m{CHOSEN}"},
    ),
    Panel(
        "Time in the networks",
        "s",
        "Computing seconds per second, by model: above 1, several instances work.",
        {
            "{{model}}": "sum by (model) "
            "(rate(nv_inference_compute_infer_duration_us{CHOSEN}[5m])) / 1e6"
        },
    ),
    Panel(
        "Caches",
        "percentunit",
        "Share answered from the cache.",
        {
            "labels": "fovea:label_cache_hit_ratio{CHOSEN}",
            "SAM's embeddings": "fovea:embedding_cache_hit_ratio{CHOSEN}",
        },
    ),
    Panel(
        "Servers",
        "short",
        "Scraped servers, and those with all models.",
        {
            "up": "count(fovea:models_ready{CHOSEN})",
            "with all models": "count(fovea:models_ready{CHOSEN} >= ALL_MODELS) or vector(0)",
        },
    ),
    Panel(
        "Memory",
        "bytes",
        "The container's, or the machine's if the kubelet does not report it.",
        {
            "{{pod}}": "fovea:memory_bytes{CHOSEN}",
            "limit of {{pod}}": "fovea:memory_limit_bytes{CHOSEN}",
        },
    ),
    Panel(
        "GPU, or CPU without one",
        "percentunit",
        "Busy share.",
        {
            "{{pod}}": "avg by (pod) (nv_gpu_utilization{CHOSEN}) "
            "or avg by (pod) (nv_cpu_utilization{CHOSEN})"
        },
    ),
    Panel(
        "GPU memory",
        "bytes",
        "The whole GPU's, whoever uses it.",
        {
            "{{pod}}": "sum by (pod) (nv_gpu_memory_used_bytes{CHOSEN})",
            "limit of {{pod}}": "sum by (pod) (nv_gpu_memory_total_bytes{CHOSEN})",
        },
        gpu=True,
    ),
    Panel(
        "GPU errors",
        "short",
        "By XID, in the last minutes; needs the dcgm-exporter.",
        {"{{pod}}: XID {{xid}}": "fovea:gpu_errors{CHOSEN}"},
        gpu=True,
    ),
    Panel(
        "GPU throttled",
        "short",
        "Why its clocks are throttled, and how often; needs the dcgm-exporter.",
        {"{{pod}}: {{clock_event}}": "fovea:gpu_throttled{CHOSEN}"},
        gpu=True,
    ),
    Panel(
        "Error budgets",
        "percentunit",
        "How fast they are spent, over three days; above 100 % they will not last.",
        {
            "answers": f"max(fovea:unanswered:ratio3d{{CHOSEN}}) / {ANSWERED.budget:g}",
            "latency of {{model}}": "max by (model) "
            f"(fovea:slow:ratio3d{{CHOSEN}}) / {FAST.budget:g}",
        },
    ),
    Panel(
        "Alerts",
        "short",
        "Firing now.",
        {"firing": 'count(ALERTS{alertname=~"Fovea.*",alertstate="firing"}) or vector(0)'},
    ),
)


def dashboard(models: ModelNames) -> dict[str, Any]:
    """The dashboard in Grafana's JSON."""
    return {
        "uid": "fovea",
        "title": "fovea",
        "tags": ["fovea", "triton"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_data_source(), _namespace()]},
        "panels": [_panel(models, number, panel) for number, panel in enumerate(PANELS)],
    }


def queries(*, gpu: bool) -> dict[str, str]:
    """Every PromQL of the dashboard by "title: legend", for all namespaces.

    Args:
        gpu: those of panels that need a GPU; else those of all others.
    """
    titles = {panel.title for panel in PANELS if panel.gpu is gpu}
    return {
        f"{panel['title']}: {target['legendFormat']}": target["expr"].replace("$namespace", ".*")
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
        if panel["title"] in titles
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus"}


def _namespace() -> dict[str, Any]:
    return {
        "name": "namespace",
        "type": "query",
        "datasource": _SOURCE,
        "query": "label_values(nv_inference_request_success, namespace)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(models: ModelNames, number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": _chosen(models, query), "legendFormat": legend}
            for i, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _chosen(models: ModelNames, query: str) -> str:
    return query.replace("CHOSEN", _CHOSEN).replace("ALL_MODELS", str(len(models.all)))


def write(models: ModelNames, path: Path) -> None:
    """Write the dashboard of a deployment into a file."""
    path.write_text(json.dumps(dashboard(models), indent=2) + "\n")


if __name__ == "__main__":
    write(production(), DASHBOARD)
