"""What the models of a server are and have done, as Triton's statistics and configurations say.

From that follows which ensembles a probe must ask, so that together they run every model, and
which of them users have asked so lately that nothing needs to be asked.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# A GET of Triton's HTTP API: path -> the JSON of its answer, None where that is an error.
Fetch = Callable[[str], Any]

# An ensemble is asked so rarely that its answer takes at most this share of one core or GPU ...
_SHARE = 0.02
# ... but an answer older than this proves nothing, where the models are quick enough.
_LEAST_PROOF_S = 10.0


@dataclass(frozen=True)
class Model:
    """A network, a Python step or an ensemble.

    Attributes:
        last_answer_s: UNIX time of its last answer, 0 where there was none. For an ensemble that
            is its last success; a step's errors are answers as well.
        request_s: mean seconds of computing for a request, for an ensemble those of all its steps.
        execution_s: seconds of an execution, the longest mean of any batch size.
        executions: how many there were.
        inputs: names of what a request must have.
        steps: the models that make an ensemble's answer; empty for others.
        entry: those of them that take nothing but the request itself.
        is_network: whether it never waits for other models.
    """

    last_answer_s: float
    request_s: float
    execution_s: float
    executions: int
    inputs: tuple[str, ...]
    steps: frozenset[str]
    entry: frozenset[str]
    is_network: bool

    def proof_s(self, most_s: float) -> float:
        """Seconds for which an answer proves that it works: more where answers cost more."""
        return min(most_s, max(_LEAST_PROOF_S, self.request_s / _SHARE))

    def answered_within(self, seconds: float, now_s: float) -> bool:
        """Whether there was an answer in the last seconds; a clock may have been set back."""
        return abs(now_s - self.last_answer_s) <= seconds


Models = Mapping[str, Model]


def read_models(fetch: Fetch) -> dict[str, Model]:
    """The loaded models by name.

    Triton must let the caller see its statistics and its models' configurations.
    """
    found = {}
    for counted in fetch("/v2/models/stats")["model_stats"]:
        config = fetch(f"/v2/models/{counted['name']}/config")
        if config is not None:  # None: unloaded a moment ago
            found[counted["name"]] = _model(counted, config)
    return found


def to_ask(
    models: Models,
    can_ask: Callable[[tuple[str, ...]], bool],
    most_s: float,
    *,
    clock: Callable[[], float] = time.time,
) -> list[str]:
    """The ensembles that must be asked, so that each model behind them has answered of late.

    Args:
        can_ask: whether a request can be made of inputs of these names.
        most_s: an answer proves nothing after this many seconds, however much it costs.
    """
    now_s = clock()
    due = []
    for name, new in _cover(models, can_ask).items():
        within_s = models[name].proof_s(most_s)
        proven = {
            step
            for model in models.values()
            if model.answered_within(within_s, now_s)
            for step in model.steps
        }
        if not new <= proven:
            due.append(name)
    return due


def longest_execution_s(models: Models) -> float:
    """Seconds of the longest execution of a network, as a mean; 0 where none has run."""
    return max((model.execution_s for model in models.values() if model.is_network), default=0.0)


def _cover(models: Models, can_ask: Callable[[tuple[str, ...]], bool]) -> dict[str, frozenset[str]]:
    """Ensembles that together run all that can be reached -> the steps that only this one adds."""
    left = {name: model for name, model in models.items() if model.steps and can_ask(model.inputs)}
    covered: frozenset[str] = frozenset()
    cover = {}
    while left:
        name = min(left, key=lambda n: (-len(left[n].steps - covered), len(left[n].steps), n))
        new = left.pop(name).steps - covered
        if not new:
            break
        cover[name], covered = new, covered | new
    return cover


def _model(counted: Mapping[str, Any], config: Mapping[str, Any]) -> Model:
    computing = counted["inference_stats"]["compute_infer"]
    steps = config.get("ensemble_scheduling", {}).get("step", [])
    inputs = [entry for entry in config["input"] if not entry.get("optional")]
    given = {entry["name"] for entry in config["input"]}
    return Model(
        last_answer_s=counted.get("last_inference", 0) / 1e3,
        request_s=_mean_s(computing),
        execution_s=max(
            (_mean_s(batch["compute_infer"]) for batch in counted.get("batch_stats", ())),
            default=0.0,
        ),
        executions=counted.get("execution_count", 0),
        inputs=tuple(entry["name"] for entry in inputs),
        steps=frozenset(step["model_name"] for step in steps),
        entry=frozenset(
            step["model_name"] for step in steps if given.issuperset(step["input_map"].values())
        ),
        is_network=not steps and config.get("backend") != "python",
    )


def _mean_s(counter: Mapping[str, int]) -> float:
    return counter["ns"] / 1e9 / counter["count"] if counter.get("count") else 0.0
