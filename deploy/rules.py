"""`python -m deploy.rules`: fills the names of the models into the rule template.

Writes the rules for any Prometheus and for Prometheus Operator, and promtool's tests of the rules
that depend on the models. The committed ones are for the production deployment; for another one,
run `python -m deploy.rules --export build/export/mine --out monitoring`, which adds the dashboard.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deploy import dashboard, objectives
from deploy.model_names import ModelNames, exported, production

MONITORING = Path(__file__).parent / "monitoring"
TEMPLATE = MONITORING / "rules.template.yaml"
RULES = MONITORING / "rules.yaml"
OPERATOR_RULE = MONITORING / "prometheus-rule.yaml"
MODELS_TEST = MONITORING / "models.test.yaml"
_HEAD = "# Generated from {} by `python -m deploy.rules`: change that, not this file.\n"
# Triton's label for a network's series on a GPU, beside one without it that counts nothing.
_ON_GPU = ',gpu_uuid="GPU-5f0c"'
_TESTED_FOR = "x30"


def rules(models: ModelNames) -> str:
    """The text of rules.yaml."""
    text = TEMPLATE.read_text()
    filled = {
        "FIRST_VERB": models.verbs[0],
        "VERBS": "|".join(models.verbs),
        "ALL_MODELS": str(len(models.all)),
        "SLOW_S": f"{objectives.SLOW_S:g}",
    }
    for placeholder, value in filled.items():
        text = text.replace(placeholder, value)
    group = textwrap.indent(_dump([objectives.group()]), "  ")
    return f"{_HEAD.format(f'{TEMPLATE.name} and objectives.py')}{text}\n{group}"


def operator_rule(models: ModelNames) -> str:
    """The text of a PrometheusRule with the same groups."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "fovea", "namespace": "fovea"},
        "spec": yaml.safe_load(rules(models)),
    }
    return _HEAD.format(RULES.name) + _dump(resource)


def models_test(models: ModelNames) -> str:
    """promtool's tests: a complete server raises no alert, one that lacks a model does."""
    network, whole = models.networks[0], len(models.all)
    tests = [
        _test(models, "all models on CPUs", _series(models, models.all, ""), whole, alerts=False),
        _test(
            models, "all models on a GPU", _series(models, models.all, _ON_GPU), whole, alerts=False
        ),
    ]
    for device, gpu in (("CPUs", ""), ("a GPU", _ON_GPU)):
        others = [model for model in models.all if model != network]
        series = _series(models, others, gpu)
        tests.append(_test(models, f"no {network} on {device}", series, len(others), alerts=True))
    made = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    return _HEAD.format("the specs of the models") + _dump(made)


def _series(models: ModelNames, names: Iterable[str], gpu: str) -> list[dict[str, str]]:
    """Triton's series for loaded models: each network on a GPU has two series of each metric."""
    found = []
    for metric, value in (
        ("nv_inference_request_success", "0"),
        ("nv_inference_pending_request_count", "2"),
    ):
        for name in names:
            labels = f'namespace="a",pod="p",model="{name}"'
            if metric == "nv_inference_pending_request_count" and name in models.verbs:
                continue
            found.append({"series": f"{metric}{{{labels}}}", "values": f"{value}{_TESTED_FOR}"})
            if gpu and name in models.networks:
                found.append({"series": f"{metric}{{{labels}{gpu}}}", "values": f"0{_TESTED_FOR}"})
    return found


def _test(
    models: ModelNames, name: str, series: list[dict[str, str]], ready: int, *, alerts: bool
) -> dict[str, Any]:
    labels = {"severity": "critical", "namespace": "a", "pod": "p"}
    annotations = {
        "summary": f"a/p has {ready} of {len(models.all)} models",
        "runbook_url": "deploy/README.md#foveamodelnotready",
    }
    expected = [{"exp_labels": labels, "exp_annotations": annotations}] if alerts else []
    pending = 2 * sum("pending" in s["series"] and "gpu_uuid" not in s["series"] for s in series)
    return {
        "name": name,
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            _expected("fovea:models_ready", ready),
            _expected("fovea:pending_requests", pending),
        ],
        "alert_rule_test": [
            {"alertname": "FoveaModelNotReady", "eval_time": "10m", "exp_alerts": expected}
        ],
    }


def _expected(record: str, value: int) -> dict[str, Any]:
    labels = f'{record}{{namespace="a",pod="p"}}'
    return {
        "expr": record,
        "eval_time": "10m",
        "exp_samples": [{"labels": labels, "value": value}],
    }


def _dump(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, width=1000))


GENERATED = {RULES: rules, OPERATOR_RULE: operator_rule, MODELS_TEST: models_test}


def main(
    export: Annotated[
        Path | None, typer.Option(help="What `python -m export` wrote; default: production's.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the files go.")] = MONITORING,
) -> None:
    """Write the rules, their tests and, for an export, the dashboard."""
    models = exported(export) if export else production()
    out.mkdir(parents=True, exist_ok=True)
    for path, made in GENERATED.items():
        (out / path.name).write_text(made(models))
    dashboard.write(models, out / "dashboard.json")


if __name__ == "__main__":
    typer.run(main)
