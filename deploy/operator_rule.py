"""`python -m deploy.operator_rule`: the rules once more, as Prometheus Operator takes them."""

from pathlib import Path

import yaml

MONITORING = Path(__file__).parent / "monitoring"
RULES = MONITORING / "rules.yaml"
OPERATOR_RULE = MONITORING / "prometheus-rule.yaml"
_HEAD = (
    "# Generated from rules.yaml by `python -m deploy.operator_rule`: change that, not this file.\n"
)


def operator_rule() -> str:
    """The text of a PrometheusRule with the groups of rules.yaml."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "fovea", "namespace": "fovea"},
        "spec": yaml.safe_load(RULES.read_text()),
    }
    return _HEAD + yaml.safe_dump(resource, sort_keys=False, width=1000)


if __name__ == "__main__":
    OPERATOR_RULE.write_text(operator_rule())
