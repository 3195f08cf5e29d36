"""Records the outcome of every request of a run."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from fovea_client import InvalidInput, Overloaded, Unavailable
from fovea_client.errors import FoveaError

REFUSALS = (InvalidInput, Overloaded, Unavailable)


@dataclass(frozen=True)
class Account:
    """The sums of a ledger; latencies of the answers, in ms.

    refused: got an error that says that nothing was begun. lost: got another error, or nothing.
    duplicated: was answered more than once. wrong: was answered, but not rightly.
    refusals, losses: how often each reason was given.
    """

    sent: int
    answered: int
    refused: int
    lost: int
    duplicated: int
    wrong: int
    p50_ms: float
    p99_ms: float
    per_s: float
    refusals: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)


@dataclass
class _Entry:
    sent_at: float
    answered_at: list[float] = field(default_factory=list)
    wrong: bool = False
    refusal: str | None = None
    loss: str | None = None


class Ledger:
    """One entry for each request; any thread may write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def send(self, number: int | None = None) -> int:
        """Note that a request goes out; returns its number, by default the next one."""
        with self._lock:
            number = len(self._entries) if number is None else number
            if number in self._entries:
                raise ValueError(f"request {number} was sent before")
            self._entries[number] = _Entry(time.perf_counter())
            return number

    def answer(self, number: int, *, right: bool = True) -> None:
        """Note an answer and whether it is the right one."""
        with self._lock:
            entry = self._entries[number]
            entry.answered_at.append(time.perf_counter())
            entry.wrong = entry.wrong or not right

    def refuse(self, number: int, reason: str) -> None:
        """Note that the server accepted nothing, and why."""
        with self._lock:
            self._entries[number].refusal = reason

    def lose(self, number: int, reason: str) -> None:
        """Note that a request was begun and ended in an error."""
        with self._lock:
            self._entries[number].loss = reason

    def fail(self, number: int, error: FoveaError) -> None:
        """Note a typed error as a refusal or as a loss."""
        if isinstance(error, InvalidInput):  # not expected of valid requests: say which it was
            self.refuse(number, f"{type(error).__name__}: {error}")
        elif isinstance(error, REFUSALS) and "not healthy" not in str(error):
            self.refuse(number, type(error).__name__)
        else:
            self.lose(number, f"{type(error).__name__}: {error}")

    def ask(self, call: Callable[[int], bool]) -> bool:
        """Send one request; `call` gets its number and returns whether the answer was right.

        Returns:
            False if it was refused or lost.
        """
        number = self.send()
        try:
            right = call(number)
        except FoveaError as error:
            self.fail(number, error)
            return False
        self.answer(number, right=right)
        return True

    def account(self) -> Account:
        """The sums so far."""
        with self._lock:
            entries = list(self._entries.values())
        answered = [entry for entry in entries if entry.answered_at]
        silent = [entry for entry in entries if not entry.answered_at]
        lost = [entry for entry in silent if entry.refusal is None]
        ms = [1e3 * (entry.answered_at[0] - entry.sent_at) for entry in answered] or [0.0]
        first = min((entry.sent_at for entry in entries), default=0.0)
        last = max((entry.answered_at[0] for entry in answered), default=first)
        return Account(
            sent=len(entries),
            answered=len(answered),
            refused=len(silent) - len(lost),
            lost=len(lost),
            duplicated=sum(len(entry.answered_at) > 1 for entry in answered),
            wrong=sum(entry.wrong for entry in answered),
            p50_ms=float(np.percentile(ms, 50)),
            p99_ms=float(np.percentile(ms, 99)),
            per_s=len(answered) / (last - first) if last > first else 0.0,
            refusals=dict(Counter(entry.refusal for entry in silent if entry.refusal)),
            losses=dict(Counter(entry.loss or "no answer" for entry in lost)),
        )
