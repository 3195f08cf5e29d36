"""Rules and dashboard: promtool's verdict, and that all parts use the same names."""

import itertools
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy import dashboard, objectives, rules, tools
from deploy.model_names import ModelNames, production
from fovea.house import wire
from fovea.verbs import verbs_of
from tests.deployments import TINY

MONITORING = Path("deploy/monitoring")
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS = {rule["record"] for rule in RULES if "record" in rule}
QUERIES = {**dashboard.queries(gpu=False), **dashboard.queries(gpu=True)}
EXPRESSIONS = [rule["expr"] for rule in RULES]
needs_promtool = pytest.mark.skipif(
    tools.find("promtool") is None, reason="promtool is missing: make deploy-tools"
)


@needs_promtool
@pytest.mark.parametrize(
    "verb",
    [
        ["check", "rules", "rules.yaml"],
        ["test", "rules", "rules.test.yaml"],
        ["test", "rules", "models.test.yaml"],
    ],
    ids=" ".join,
)
def test_promtool_agrees(verb):
    command = [str(tools.find("promtool")), *verb]
    done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_that_fires_it():
    tests = yaml.safe_load((MONITORING / "rules.test.yaml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert fired == set(ALERTS)


def test_every_alert_leads_to_its_runbook():
    headings = re.findall(r"^#+ (.*)$", Path("deploy/README.md").read_text(), re.MULTILINE)
    for name, alert in ALERTS.items():
        assert alert["annotations"]["runbook_url"] == f"deploy/README.md#{name.lower()}"
        assert name in headings


@pytest.mark.parametrize("path", rules.GENERATED, ids=lambda path: path.name)
def test_rules_and_their_tests_are_generated(path):
    assert path.read_text() == rules.GENERATED[path](production())


def test_the_dashboard_is_generated():
    assert json.loads(dashboard.DASHBOARD.read_text()) == dashboard.dashboard(production())


@needs_promtool
def test_counting_series_instead_of_models_is_seen_by_the_tests_on_a_gpu(tmp_path):
    by_model = "count by (namespace, pod, model) (nv_inference_request_success)"
    text = rules.RULES.read_text()
    assert by_model in text
    blind = text.replace(f"({by_model})", "(nv_inference_request_success)")
    (tmp_path / "rules.yaml").write_text(blind)
    (tmp_path / "models.test.yaml").write_text(rules.models_test(production()))
    command = [str(tools.find("promtool")), "test", "rules", "models.test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode and "on a GPU" in done.stdout + done.stderr


def test_every_queried_series_is_recorded():
    asked = " ".join([*EXPRESSIONS, *QUERIES.values()])
    assert set(re.findall(r"fovea:[a-z_]+(?::[a-z0-9]+)?", asked)) <= RECORDS


def test_the_rules_know_the_models_of_the_deployment():
    wired = wire(TINY)
    verbs = "|".join(ensemble.name for ensemble in wired.ensembles)
    others = [spec.name for spec in wired.networks]
    others += [step.model.name for step in wired.steps]
    listed = set(re.findall(r'model!?=~"([^"]+)"', " ".join(EXPRESSIONS)))
    assert listed == {verbs}
    count = len(verbs.split("|")) + len(others)
    alert = ALERTS["FoveaModelNotReady"]
    assert alert["expr"] == f"fovea:models_ready < {count}"
    assert f"of {count} models" in alert["annotations"]["summary"]
    assert set(production().all) == {*verbs.split("|"), *others}
    assert f">= {count})" in QUERIES["Servers: with all models"]


def test_every_burn_rate_has_a_long_and_a_short_window():
    """With recorded windows, and low enough that a total loss reaches it."""
    for objective in objectives.OBJECTIVES:
        severities = {r["labels"]["severity"] for r in RULES if r.get("alert") == objective.alert}
        assert severities == set(objectives.BURN_RATES)
        for rate, long, short in itertools.chain(*objectives.BURN_RATES.values()):
            assert rate * objective.budget < 1
            assert {f"{objective.series}:ratio{window}" for window in (long, short)} <= RECORDS
            assert objectives.WINDOWS.index(short) < objectives.WINDOWS.index(long)


@needs_promtool
def test_the_panels_of_a_gpu_have_data_on_one(tmp_path):
    """With series like Triton's and the dcgm-exporter's; other panels are tested live."""
    queries = dashboard.queries(gpu=True)
    pod = 'namespace="a",pod="p"'
    series = [
        f'nv_gpu_memory_used_bytes{{{pod},gpu_uuid="GPU-5f0c"}}',
        f'nv_gpu_memory_total_bytes{{{pod},gpu_uuid="GPU-5f0c"}}',
        f'DCGM_EXP_XID_ERRORS_COUNT{{{pod},container="fovea",gpu="0",xid="79"}}',
        f'DCGM_EXP_CLOCK_EVENTS_COUNT{{{pod},container="fovea",gpu="0",clock_event="power_cap"}}',
    ]
    one = [{"labels": "{}", "value": 1}]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": "5x10"} for name in series],
        "promql_expr_test": [
            {"expr": f"count({query})", "eval_time": "5m", "exp_samples": one}
            for query in queries.values()
        ],
    }
    shutil.copy(rules.RULES, tmp_path)
    made = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "gpu.test.yaml").write_text(yaml.safe_dump(made))
    command = [str(tools.find("promtool")), "test", "rules", "gpu.test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert len(queries) == len(series)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_rules_for_a_deployment_with_one_verb_name_no_other(tmp_path):
    one = replace(
        TINY,
        members=(TINY.member("grounding_dino"),),
        verbs=verbs_of({"find": {"verb": "detect", "detects": "grounding_dino"}}),
    )
    models = ModelNames(wire(one))
    assert models.verbs == ("find",)
    for path, made in rules.GENERATED.items():
        (tmp_path / path.name).write_text(made(models))
    dashboard.write(models, tmp_path / "dashboard.json")
    written = " ".join(path.read_text() for path in tmp_path.iterdir())
    assert "main_object" not in written and "clip" not in written
    for verb in (["check", "rules", "rules.yaml"], ["test", "rules", "models.test.yaml"]):
        command = [str(tools.find("promtool")), *verb]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.server
def test_a_real_prometheus_answers_every_query_of_the_dashboard_and_a_trace_shows_every_step():
    from deploy.live import TRACED, watch

    seen = watch(within_s=120)
    assert [query for query, series in seen.answers.items() if not series] == []
    steps = next(e for e in wire(TINY).ensembles if e.name == TRACED).steps
    assert {TRACED, *(step.model for step in steps)} <= seen.traced
    assert "FoveaServerDown" not in seen.firing and "FoveaModelNotReady" not in seen.firing
