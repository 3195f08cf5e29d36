"""Each network called directly, by batch size: PyTorch eager and compiled, ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.budget import Budget, powers_of_two
from benchmarks.results import NetworkResult
from benchmarks.runners import OnnxRunner, Runner, TorchRunner, compiled, repeat_rows
from benchmarks.spread import Spread
from benchmarks.turns import TURN_S, in_turn, seconds_per_call
from export.network import Network
from export.pipeline import Export

EAGER, COMPILED, ONNX = "pytorch", "pytorch compiled", "onnxruntime"
# What torch.compile may take before it pays, in calls of the eager network, and at least in s.
COMPILE_CALLS = 10
COMPILE_S = 60.0


@dataclass
class _Entry:
    """A side with one batch size of one network, and its rounds so far (seconds per call)."""

    network: Network
    side: str
    batch: int
    runner: Runner
    seconds: list[float] = field(default_factory=list)
    first_s: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.network.spec.name}: {self.side}, batch {self.batch}"

    @property
    def expected_s(self) -> float:
        return self.seconds[-1] if self.seconds else self.first_s

    def call(self) -> None:
        self.runner(self.feeds)

    def __post_init__(self) -> None:
        self.feeds = repeat_rows(self.network.sample(1, 0), self.batch)

    def result(self) -> NetworkResult:
        return NetworkResult(
            network=self.network.spec.name,
            side=self.side,
            batch=self.batch,
            batch_ms=Spread.of(1000 * s for s in self.seconds),
            rows_per_s=Spread.of(self.batch / s for s in self.seconds),
        )


class DirectNetworks:
    """Measures the sides in turns, and keeps the fastest runner of each network.

    largest: batch size. compile: also measure torch.compile, at the eager network's best batch.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        export: Export,
        *,
        device: str,
        largest: int,
        compile: bool,
        say: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._networks, self._export = networks, export
        self._device, self._largest, self._compile = device, largest, compile
        self._say = say
        self._entries: list[_Entry] = []
        self.onnx: dict[str, Runner] = {}
        self.torch: dict[str, Runner] = {}

    def measure(self, rounds: int, budget: Budget) -> list[NetworkResult]:
        """One call of each to get to know it, then the rounds."""
        eager = [self._add(network, budget) for network in self._networks]
        if self._compile:
            for entries in filter(None, eager):
                self._add_compiled(max(entries, key=lambda e: e.batch / e.first_s), rounds, budget)
        for index in range(rounds):
            for name in in_turn([entry.name for entry in self._entries], index):
                entry = next(entry for entry in self._entries if entry.name == name)
                what = f"{name}, round {index + 1}"
                if budget.allows(max(TURN_S, entry.expected_s), what):
                    self._say(entry.name)
                    repeats = max(1, round(TURN_S / entry.first_s))
                    entry.seconds.append(seconds_per_call(entry.call, repeats))
        self._choose()
        return [entry.result() for entry in self._entries if entry.seconds]

    def _add(self, network: Network, budget: Budget) -> list[_Entry]:
        """Both runners of a network; the entries of the eager one."""
        name = network.spec.name
        self.torch[name] = TorchRunner(network, self._device)
        self.onnx[name] = OnnxRunner(network.spec, self._export)
        eager = self._batches(network, EAGER, self.torch[name], budget)
        self._batches(network, ONNX, self.onnx[name], budget)
        return eager

    def _batches(self, network: Network, side: str, runner: Runner, budget: Budget) -> list[_Entry]:
        """Entries for ascending batch sizes, each called once to warm up and once by the clock."""
        added: list[_Entry] = []
        for batch in powers_of_two(min(self._largest, network.spec.max_batch_size)):
            entry = _Entry(network, side, batch, runner)
            expected_s = 4 * added[-1].first_s if added else 0.0
            if not budget.allows(expected_s, entry.name):
                break
            self._say(entry.name)
            entry.first_s = _first_s(entry.call)
            added.append(entry)
        self._entries += added
        return added

    def _add_compiled(self, eager: _Entry, rounds: int, budget: Budget) -> None:
        """Compiled only where the rounds of all that is there still fit afterwards."""
        entry = _Entry(eager.network, COMPILED, eager.batch, eager.runner)
        rounds_s = rounds * sum(max(TURN_S, known.expected_s) for known in self._entries)
        compile_s = COMPILE_S + COMPILE_CALLS * eager.first_s
        if not budget.allows(rounds_s + compile_s, entry.name):
            return
        self._say(f"{entry.name}: compiling")
        entry.runner = TorchRunner(eager.network, self._device, compiled)
        try:
            entry.first_s = _first_s(entry.call)
        except Exception as error:  # the compiler raises many kinds; eager stays
            budget.left_out.append(f"{entry.name}: {type(error).__name__}")
            return
        self._entries.append(entry)

    def _choose(self) -> None:
        """PyTorch's runner of each network: the compiled one where it is faster."""
        for entry in self._entries:
            if entry.side == COMPILED and entry.seconds:
                eager = next(
                    other
                    for other in self._entries
                    if (other.network, other.side, other.batch)
                    == (entry.network, EAGER, entry.batch)
                )
                if not eager.seconds or min(entry.seconds) < min(eager.seconds):
                    self.torch[entry.network.spec.name] = entry.runner


def _first_s(call: Callable[[], None]) -> float:
    call()
    return seconds_per_call(call, 1)


def best(results: Sequence[NetworkResult], network: str, side: str) -> NetworkResult | None:
    """The batch size of the most rows per second."""
    found = [r for r in results if (r.network, r.side) == (network, side)]
    return max(found, key=lambda r: r.rows_per_s.median, default=None)


def best_batch(results: Sequence[NetworkResult], side: str, networks: Sequence[str]) -> int:
    """The batch size that takes the least time per picture through all `networks`."""
    totals: dict[int, list[float]] = {}
    for result in results:
        if result.side == side and result.network in networks:
            totals.setdefault(result.batch, []).append(result.batch_ms.median / result.batch)
    whole = {batch: sum(ms) for batch, ms in totals.items() if len(ms) == len(networks)}
    return min(whole, key=lambda batch: whole[batch], default=1)
