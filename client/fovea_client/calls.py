"""Running calls: if a caller leaves one, it goes on until the server has answered.

Triton 2.51 dies if gRPC cancels an inference at the wrong moment (docs/security.md), and gRPC
cancels a call when its deadline passes, when nobody refers to it any more, when its channel is
closed, and when the process ends. So a caller here only stops waiting: at its deadline, when its
task is cancelled, after Ctrl-C, or after `close()`. The call itself stays until its answer comes.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator
from concurrent import futures
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

import grpc

from fovea_client.errors import FoveaError, Overloaded, Unavailable

T = TypeVar("T")

# How long a call may go on after its caller's deadline. A server that has not answered by then
# hangs for ever: gRPC's own deadline then ends the call, so that nothing here waits for ever.
LINGER_S = 3600.0
# An interpreter that exits waits this long for running calls, silently; Ctrl-C ends the wait.
EXIT_WAIT_S = 10.0
# Most calls of one client that are unanswered after their callers left. With this many the server
# is far behind: new calls are refused until some have ended.
MAX_ABANDONED = 256


class Call:
    """A request that gRPC has, or is about to get.

    outcome: the response, grpc.RpcError, or FoveaError. abandoned: nobody waits for it.
    """

    def __init__(self) -> None:
        self.outcome: Future[Any] = Future()
        self.abandoned = False
        # Without a reference, gRPC would cancel the call.
        self.rendezvous: Any = None

    def settle(self, outcome: Any, error: BaseException | None = None) -> None:
        """Set the outcome; only the first one counts."""
        with suppress(InvalidStateError):
            if error is None:
                self.outcome.set_result(outcome)
            else:
                self.outcome.set_exception(error)


@dataclass(frozen=True)
class Wait:
    """What a call waits for next: the end of another call, or a pause.

    call: None is a pause. timeout_s: longest wait in seconds; None is no limit.
    """

    call: Call | None
    timeout_s: float | None

    def block(self) -> None:
        """Wait in this thread."""
        if self.call is None:
            time.sleep(self.timeout_s or 0.0)
            return
        with suppress(futures.TimeoutError):
            self.call.outcome.exception(self.timeout_s)

    async def suspend(self) -> None:
        """Wait in the running event loop, whichever that is."""
        if self.call is None:
            await asyncio.sleep(self.timeout_s or 0.0)
            return
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not ended.done():
                ended.set_result(None)

        def wake_from_outside(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(wake)

        self.call.outcome.add_done_callback(wake_from_outside)
        timer = None if self.timeout_s is None else loop.call_later(self.timeout_s, wake)
        try:
            await ended
        finally:
            if timer is not None:
                timer.cancel()


# A client's work without its waiting, which `Client` and `AsyncClient` do differently.
Waits: TypeAlias = Generator[Wait, None, T]


class Calls:
    """The calls of one channel; any thread and any event loop may start some."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._changed = threading.Condition()
        self._under_way: set[Call] = set()
        self._closed = False
        self._sends: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        sender = threading.Thread(target=_send_all, args=[self._sends], daemon=True)
        sender.start()
        weakref.finalize(self, self._sends.put, None)
        _ALL.add(self)

    @property
    def abandoned(self) -> int:
        """The number of running calls whose callers have left."""
        with self._changed:
            return sum(call.abandoned for call in self._under_way)

    def start(self, send: Callable[[], Any]) -> Call:
        """Start what `send` returns, gRPC's future of a call.

        Raises:
            Overloaded: MAX_ABANDONED run without callers. Unavailable: after `close`.
        """
        _park_if_exiting()
        call = Call()
        with self._changed:
            if self._closed:
                raise Unavailable("this client is closed")
            left = sum(call.abandoned for call in self._under_way)
            if left >= MAX_ABANDONED:
                raise Overloaded(f"the server still works on {left} requests whose callers left")
            self._under_way.add(call)
        if threading.current_thread() is threading.main_thread():
            # Ctrl-C hits the main thread, where it could interrupt gRPC's own code.
            self._sends.put(partial(self._send, call, send))
        else:
            self._send(call, send)
        return call

    def abandon(self, call: Call) -> None:
        """Note that nobody waits for `call` any more; the call itself goes on."""
        with self._changed:
            call.abandoned = True

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Whether all calls end within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout_s)

    def close(self, error: FoveaError) -> None:
        """Answer every waiter with `error`; the channel closes when the last call has ended."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            left = list(self._under_way)
            for call in left:
                call.abandoned = True
        for call in left:
            call.settle(None, error)
        self._sends.put(None)
        if not left:
            self._channel.close()
            return
        with suppress(RuntimeError):  # at the interpreter's end, where the exit's wait does it
            threading.Thread(target=self._close_when_idle, daemon=True).start()

    def _close_when_idle(self) -> None:
        self.wait_until_idle(LINGER_S)
        self._channel.close()

    def _send(self, call: Call, send: Callable[[], Any]) -> None:
        if call.abandoned:
            self._end(call)
            return
        try:
            call.rendezvous = send()
        except Exception as error:
            self._end(call)
            call.settle(None, error)
        else:
            call.rendezvous.add_done_callback(partial(self._finish, call))

    def _finish(self, call: Call, rendezvous: Any) -> None:
        self._end(call)
        if rendezvous.code() is grpc.StatusCode.OK:
            call.settle(rendezvous.result())
        else:
            call.settle(None, rendezvous)

    def _end(self, call: Call) -> None:
        with self._changed:
            self._under_way.discard(call)
            self._changed.notify_all()


def _send_all(sends: SimpleQueue[Callable[[], None] | None]) -> None:
    while (send := sends.get()) is not None:
        send()
        del send  # or an unused client would live until the next call


_ALL: weakref.WeakSet[Calls] = weakref.WeakSet()
_exiting = threading.Event()


def _park_if_exiting() -> None:
    """Stop a daemon thread that would send while the interpreter ends, as Python soon does."""
    if _exiting.is_set() and threading.current_thread() is not threading.main_thread():
        threading.Event().wait()


@atexit.register
def _wait_at_exit() -> None:
    _exiting.set()
    end = time.monotonic() + EXIT_WAIT_S
    with suppress(KeyboardInterrupt):
        for calls in list(_ALL):
            calls.wait_until_idle(max(0.0, end - time.monotonic()))


# A forked child has none of the parent's calls.
os.register_at_fork(after_in_child=_ALL.clear)
