"""Runs steps in turn, each within its time limit, and records every verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Figures = dict[str, Any]
Verdict = Literal["passed", "failed", "skipped", "not reached"]


class StepFailed(Exception):
    """A step saw something wrong; the message says what was expected and what came.

    figures: those measured until then.
    """

    def __init__(self, message: str, figures: Figures | None = None) -> None:
        super().__init__(message)
        self.figures = figures or {}


class StepSkipped(Exception):
    """A step does not apply on this host; the message says why."""


@dataclass(frozen=True)
class Step:
    """One thing to try.

    run: returns its figures, or raises StepFailed or StepSkipped. limit_s: seconds after which it
    is given up. needs: the earlier steps that must have passed, or it is not tried.
    """

    name: str
    run: Callable[[], Figures]
    limit_s: float
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The result of one step; reason is empty if it passed."""

    name: str
    verdict: Verdict
    seconds: float
    limit_s: float
    reason: str = ""
    figures: Figures = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The outcome for JSON."""
        return asdict(self)


def run_steps(
    steps: Sequence[Step],
    *,
    began: Callable[[Step], None] = lambda step: None,
    ended: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Every step's outcome: skipped if it needs a skipped step, not reached after a failed one."""
    outcomes: dict[str, Outcome] = {}
    for step in steps:
        missing = [outcomes[name] for name in step.needs if outcomes[name].verdict != "passed"]
        if missing:
            skipped = all(need.verdict == "skipped" for need in missing)
            verdict: Verdict = "skipped" if skipped else "not reached"
            reason = "; ".join(f"{need.name}: {need.verdict}" for need in missing)
            outcome = Outcome(step.name, verdict, 0.0, step.limit_s, reason)
        else:
            began(step)
            outcome = _try(step)
        outcomes[step.name] = outcome
        ended(outcome)
    return list(outcomes.values())


def _try(step: Step) -> Outcome:
    """Run a step in its own thread: one that hangs is left behind, and the run goes on."""
    found: list[tuple[Verdict, str, Figures]] = []

    def work() -> None:
        try:
            found.append(("passed", "", step.run()))
        except StepSkipped as skipped:
            found.append(("skipped", str(skipped), {}))
        except StepFailed as failed:
            found.append(("failed", str(failed), failed.figures))
        except Exception as error:  # whatever goes wrong is the step's verdict
            found.append(("failed", f"{type(error).__name__}: {error}", {}))

    start = time.monotonic()
    thread = threading.Thread(target=work, name=f"smoke-{step.name}", daemon=True)
    thread.start()
    thread.join(step.limit_s)
    late: tuple[Verdict, str, Figures] = ("failed", f"not done after {step.limit_s:g} s", {})
    verdict, reason, figures = found[0] if found else late
    seconds = round(time.monotonic() - start, 2)
    return Outcome(step.name, verdict, seconds, step.limit_s, reason, figures)
