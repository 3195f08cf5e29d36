"""Time to spend, and what was left out for want of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Budget:
    """Seconds until `ends`, on a monotonic clock; `left_out` says what did not fit."""

    ends: float
    left_out: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Budget:
        """From now on."""
        return cls(clock() + seconds, clock=clock)

    @property
    def left_s(self) -> float:
        """What is left, 0 when it is used up."""
        return max(0.0, self.ends - self.clock())

    def share(self, part: float) -> Budget:
        """A budget of its own with a part of what is left; what it leaves out is noted here."""
        return Budget(self.clock() + part * self.left_s, self.left_out, self.clock)

    def allows(self, seconds: float, what: str) -> bool:
        """Whether that much is left; notes `what` where it is not."""
        if seconds <= self.left_s:
            return True
        note = f"{what} (about {seconds:.0f} s)"
        if note not in self.left_out:
            self.left_out.append(note)
        return False


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4 … up to `largest`."""
    return [2**i for i in range(largest.bit_length()) if 2**i <= largest]
