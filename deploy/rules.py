"""`python -m deploy.rules`: the rules of the template, with the names of the models filled in.

Writes them for any Prometheus and for Prometheus Operator, and promtool's tests of what depends on
which models there are.
"""

import functools
from pathlib import Path
from typing import Any

import yaml

from export.production import production_deployment
from fovea.house import wire

MONITORING = Path(__file__).parent / "monitoring"
TEMPLATE = MONITORING / "rules.template.yaml"
RULES = MONITORING / "rules.yaml"
OPERATOR_RULE = MONITORING / "prometheus-rule.yaml"
MODELS_TEST = MONITORING / "models.test.yaml"
_HEAD = "# Generated from {} by `python -m deploy.rules`: change that, not this file.\n"
# How Triton names a series of a network on a GPU, beside one without it that counts nothing.
_ON_GPU = ',gpu_uuid="GPU-5f0c"'
_TESTED_FOR = "x30"


@functools.cache
def verbs() -> tuple[str, ...]:
    """The ensembles, which are what users ask for."""
    return tuple(spec.name for spec in wire(production_deployment()).ensembles)


@functools.cache
def networks() -> tuple[str, ...]:
    """The models that run on a GPU where there is one."""
    return tuple(spec.name for spec in wire(production_deployment()).networks)


@functools.cache
def models() -> tuple[str, ...]:
    """Every model of a whole server."""
    steps = tuple(step.model.name for step in wire(production_deployment()).steps)
    return (*verbs(), *networks(), *steps)


def rules() -> str:
    """The text of rules.yaml."""
    text = TEMPLATE.read_text()
    return _HEAD + text.replace("VERBS", "|".join(verbs())).replace(
        "ALL_MODELS", str(len(models()))
    )


def operator_rule() -> str:
    """The text of a PrometheusRule with the same groups."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "fovea", "namespace": "fovea"},
        "spec": yaml.safe_load(rules()),
    }
    return _HEAD.format(TEMPLATE.name) + _dump(resource)


def models_test() -> str:
    """promtool's tests: whole servers raise no alert, one without one model does, on any device."""
    network = networks()[0]
    tests = [
        _test("all models on CPUs", _series(models(), ""), len(models()), alerts=False),
        _test("all models on a GPU", _series(models(), _ON_GPU), len(models()), alerts=False),
    ]
    for device, gpu in (("CPUs", ""), ("a GPU", _ON_GPU)):
        others = [model for model in models() if model != network]
        name = f"no {network} on {device}"
        tests.append(_test(name, _series(others, gpu), len(others), alerts=True))
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    return _HEAD.format("the specs of the models") + _dump(whole)


def _series(names: tuple[str, ...] | list[str], gpu: str) -> list[dict[str, str]]:
    """What Triton shows of loaded models: of each network on a GPU two series of each metric."""
    found = []
    for metric, value in (
        ("nv_inference_request_success", "0"),
        ("nv_inference_pending_request_count", "2"),
    ):
        for name in names:
            labels = f'namespace="a",pod="p",model="{name}"'
            if metric == "nv_inference_pending_request_count" and name in verbs():
                continue
            found.append({"series": f"{metric}{{{labels}}}", "values": f"{value}{_TESTED_FOR}"})
            if gpu and name in networks():
                found.append({"series": f"{metric}{{{labels}{gpu}}}", "values": f"0{_TESTED_FOR}"})
    return found


def _test(name: str, series: list[dict[str, str]], ready: int, *, alerts: bool) -> dict[str, Any]:
    labels = {"severity": "critical", "namespace": "a", "pod": "p"}
    annotations = {
        "summary": f"a/p has {ready} of {len(models())} models",
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


def _dump(value: dict[str, Any]) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, width=1000))


GENERATED = {RULES: rules, OPERATOR_RULE: operator_rule, MODELS_TEST: models_test}

if __name__ == "__main__":
    for path, text in GENERATED.items():
        path.write_text(text())
