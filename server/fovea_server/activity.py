"""What a server's models are and have done, from Triton's statistics and configurations.

From this a probe learns which ensembles it must ask so that together they run every model, and
which of them users have called so recently that it need not ask.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# A GET of Triton's HTTP API: path -> the JSON of its answer, None for an error.
Fetch = Callable[[str], Any]

# A probe asks an ensemble so rarely that it takes at most this share of one core or GPU ...
_SHARE = 0.02
# ... but an answer older than this proves nothing, if the models are quick enough.
_LEAST_PROOF_S = 10.0


@dataclass(frozen=True)
class Model:
    """A network, a Python step or an ensemble.

    Attributes:
        last_answer_s: UNIX time of its last answer, 0 for none. For an ensemble that is its last
            success; a step's errors count as answers.
        request_s: mean seconds of computing for a request, for an ensemble those of all its steps.
        execution_s: seconds of an execution, the longest mean of any batch size.
        executions: their number.
        inputs: names of a request's required inputs.
        steps: the models that make an ensemble's answer; empty for others.
        entry: those of them that take only the request itself.
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
        """How long an answer proves that it works, in seconds: longer if answers cost more."""
        return min(most_s, max(_LEAST_PROOF_S, self.request_s / _SHARE))

    def answered_within(self, seconds: float, now_s: float) -> bool:
        """Whether there was an answer in the last seconds; the clock may have been set back."""
        return abs(now_s - self.last_answer_s) <= seconds


Models = Mapping[str, Model]


def read_models(fetch: Fetch) -> dict[str, Model]:
    """The loaded models by name.

    Triton must let the caller read its statistics and its models' configurations.
    """
    found = {}
    for counted in fetch("/v2/models/stats")["model_stats"]:
        config = fetch(f"/v2/models/{counted['name']}/config")
        if config is not None:  # None: just unloaded
            found[counted["name"]] = _model(counted, config)
    return found


def to_ask(
    models: Models,
    can_ask: Callable[[tuple[str, ...]], bool],
    most_s: float,
    *,
    clock: Callable[[], float] = time.time,
) -> list[str]:
    """The ensembles to ask, so that each model behind them has answered recently.

    Args:
        can_ask: whether a request can be made for inputs with these names.
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
    """Seconds of the longest execution of a network, as a mean; 0 if none has run."""
    return max((model.execution_s for model in models.values() if model.is_network), default=0.0)


def _cover(models: Models, can_ask: Callable[[tuple[str, ...]], bool]) -> dict[str, frozenset[str]]:
    """Ensembles that together run all reachable models -> the steps that only this one adds."""
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
