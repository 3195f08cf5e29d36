"""The blocking client."""

from __future__ import annotations

from contextlib import closing
from typing import TypeVar

from fovea_client.blocking import BlockingVerbs
from fovea_client.calls import Waits
from fovea_client.connection import READY_TIMEOUT_S, Connection
from fovea_client.description import Description
from fovea_client.verbs import Steps

T = TypeVar("T")


class Client(Connection, BlockingVerbs):
    """Calls the verbs of a fovea server over gRPC; safe to share between threads.

    The options are those of `Connection`. A call whose caller leaves, at the deadline or by Ctrl-C,
    goes on at the server until it is answered: see `fovea_client.calls`.

    Images are paths, encoded bytes (JPEG, PNG, WebP), uint8 [H, W, 3] RGB or [H, W], or PIL
    images. Each verb raises the errors of `fovea_client.errors`: InvalidInput and its kinds,
    Overloaded, DeadlineExceeded, Unavailable, ServerError.
    """

    def check_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Raise the reason, mostly Unavailable, unless the server is ready with all its models."""
        self._wait(self._check_ready(timeout_s))

    def describe(self, verb: str, *, timeout_s: float = READY_TIMEOUT_S) -> Description:
        """The members behind a verb, by its name in the deployment, and their weights.

        Raises UnknownVerb for a name that is not served.
        """
        return self._wait(self._describe(verb, timeout_s))

    def verbs(self, *, timeout_s: float = READY_TIMEOUT_S) -> tuple[Description, ...]:
        """All that the server offers, by name; raises Unavailable and the like."""
        return self._wait(self._verbs(timeout_s))

    def close(self) -> None:
        """End the calls of other threads with Unavailable, without waiting.

        The channel closes when the server has answered all running calls.
        """
        self._close()

    def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        return self._wait(self._ask(steps, timeout_s))

    def _wait(self, waits: Waits[T]) -> T:
        with closing(waits):
            try:
                while True:
                    next(waits).block()
            except StopIteration as end:
                result: T = end.value
                return result
