"""The service level objectives, and the rules that watch how fast error budgets are spent.

Alerts by burn rate over two windows each, after chapter 5 of Google's "The Site Reliability
Workbook": the long window shows that enough was spent to matter, the short one that it continues.
"""

from dataclasses import dataclass
from typing import Any

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# One sample a minute.
_EVERY = "1m"
# In seconds; the 99th of 100 requests is slow if it takes longer. FoveaSlow uses the same.
SLOW_S = 5.0


@dataclass(frozen=True)
class Objective:
    """A share of something that must be good.

    Attributes:
        series: prefix of the recorded series; `{series}:ratio1h` is the bad share of the last hour.
        alert: the name of its alert and runbook.
        target: share that must be good in the long run.
        bad, all: PromQL of the current number of bad ones and of all, by the labels to keep apart.
        summary: of the alert; $value is the bad share in the long window.
    """

    series: str
    alert: str
    target: float
    bad: str
    all: str
    summary: str

    @property
    def budget(self) -> float:
        """Share that may be bad."""
        return round(1 - self.target, 6)


# A request that is refused for overload has no answer either; bad input is the client's fault.
ANSWERED = Objective(
    series="fovea:unanswered",
    alert="FoveaErrorBudget",
    target=0.999,
    bad='sum by (namespace) ({__name__=~"fovea:(failures|rejected):rate5m"})',
    all='sum by (namespace) ({__name__=~"fovea:(requests|failures|rejected):rate5m"})',
    summary="{{ $value | humanizePercentage }} of the requests in {{ $labels.namespace }}"
    " have no answer",
)
# Triton has no histogram of whole requests (`histogram_latencies` is for decoupled models only),
# and quantiles of servers cannot be added. So the rule counts the minutes in which the slowest
# server's quantile is above the limit. A minute without requests is good.
FAST = Objective(
    series="fovea:slow",
    alert="FoveaLatencyBudget",
    target=0.99,
    bad="max by (namespace, model) "
    f'(fovea:latency_seconds:quantile{{quantile="0.99"}} > bool {SLOW_S:g})',
    all="sum by (namespace, model) (fovea:requests:rate5m) * 0 + 1",
    summary="{{ $labels.model }} in {{ $labels.namespace }} is slow in"
    " {{ $value | humanizePercentage }} of the minutes",
)
OBJECTIVES = (ANSWERED, FAST)
# Severity -> (burn rate, long window, short window); one of them is enough. At rate 1 a budget of
# 30 days lasts 30 days; 14.4 spends a fiftieth of it in an hour.
BURN_RATES = {
    "critical": ((14.4, "1h", "5m"), (6.0, "6h", "30m")),
    "warning": ((3.0, "1d", "2h"), (1.0, "3d", "6h")),
}


def group() -> dict[str, Any]:
    """The rule group of all objectives."""
    rules = []
    for objective in OBJECTIVES:
        rules += [*_recorded(objective), *_alerts(objective)]
    return {"name": "fovea.objectives", "interval": _EVERY, "rules": rules}


def _recorded(objective: Objective) -> list[dict[str, Any]]:
    series = objective.series
    ratios = [
        {
            "record": f"{series}:ratio{window}",
            "expr": f"sum_over_time({series}:bad[{window}])"
            f" / (sum_over_time({series}:all[{window}]) > 0)",
        }
        for window in WINDOWS
    ]
    return [
        {"record": f"{series}:all", "expr": objective.all},
        # Bad ones are a part of all, and 0 if nothing was ever bad.
        {
            "record": f"{series}:bad",
            "expr": f"{objective.bad} and {series}:all or {series}:all * 0",
        },
        *ratios,
    ]


def _alerts(objective: Objective) -> list[dict[str, Any]]:
    return [
        {
            "alert": objective.alert,
            "expr": " or ".join(
                f"({objective.series}:ratio{long} > {_share(rate, objective)}"
                f" and {objective.series}:ratio{short} > {_share(rate, objective)})"
                for rate, long, short in pairs
            ),
            "labels": {"severity": severity},
            "annotations": {
                "summary": objective.summary,
                "runbook_url": f"deploy/README.md#{objective.alert.lower()}",
            },
        }
        for severity, pairs in BURN_RATES.items()
    ]


def _share(rate: float, objective: Objective) -> str:
    return f"{rate * objective.budget:.6g}"
