"""Serves in the foreground: progress, addresses, signals, an exit code."""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from rich.console import Console

from fovea_server.errors import ModelLoadError, ServerError, StartError
from fovea_server.launcher import EmbeddedServer
from fovea_server.options import ServerOptions

log = logging.getLogger("fovea_server")

_FAILED = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(options: ServerOptions, *, json_line: bool = False) -> int:
    """Start a server, print where it listens, and block until it ends.

    SIGTERM and SIGINT let running requests finish; a second one kills. SIGHUP loads new content of
    the model repository. Call it in the main thread.

    Args:
        options: what to serve, and where.
        json_line: print one line of JSON to stdout when ready, instead of text for people.

    Returns:
        tritonserver's exit code, nonzero if it could not start or was given up; 128 plus the
        signal's number if a signal ended it.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    console = Console(stderr=True, highlight=False)
    try:
        server = EmbeddedServer(options)
    except ServerError as exc:
        console.print(str(exc), markup=False, soft_wrap=True)
        return _FAILED
    with _relayed_signals(server):
        try:
            server.prepare()
            with _progress(console, server) as on_progress:
                server.start(on_progress=on_progress)
            _announce(server, console, json_line=json_line)
            code = server.wait()
        except ServerError as exc:
            return _report(exc, server, console)
        finally:
            server.kill()
    if server.failure:
        console.print(f"Gave up: {server.failure}", markup=False)
    return _FAILED if code is None else _shell_code(code)


@contextlib.contextmanager
def _relayed_signals(server: EmbeddedServer) -> Iterator[None]:
    def relay(number: int, frame: FrameType | None) -> None:
        server.request_stop()

    def load(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=_load_changes, args=(server,), daemon=True).start()

    previous = {number: signal.signal(number, relay) for number in _SIGNALS}
    previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, load)
    try:
        yield
    finally:
        for number, action in previous.items():
            signal.signal(number, action)


def _load_changes(server: EmbeddedServer) -> None:
    try:
        log.warning("loaded the changes; ready: %s", ", ".join(server.load_changes()))
    except ServerError as exc:
        log.error("the changes could not be loaded: %s", exc)


@contextlib.contextmanager
def _progress(console: Console, server: EmbeddedServer) -> Iterator[Callable[[list[str]], None]]:
    console.print(f"Starting Triton, log in {server.log_path}", markup=False, soft_wrap=True)
    with console.status("Loading models ...") as status:

        def show(loaded: list[str]) -> None:
            latest = f", the last {loaded[-1]}" if loaded else ""
            status.update(f"Loading models: {len(loaded)} ready{latest}")

        yield show


def _announce(server: EmbeddedServer, console: Console, *, json_line: bool) -> None:
    where = {
        "grpc": server.grpc_url,
        "http": server.http_url,
        "metrics": server.metrics_url,
        "models": server.models,
        "pid": server.pid,
        "launcher_pid": os.getpid(),
        "log": str(server.log_path),
    }
    if json_line:
        print(json.dumps(where), flush=True)
        return
    console.print(f"Ready: {', '.join(server.models)}", markup=False)
    for name in ("grpc", "http", "metrics"):
        console.print(f"  {name:8}{where[name]}", markup=False)


def _report(error: ServerError, server: EmbeddedServer, console: Console) -> int:
    if server.stop_requested:
        console.print("Stopped before it was ready", markup=False)
    elif isinstance(error, ModelLoadError):
        for model, reason in error.reasons.items():
            console.print(f"Model {model} failed to load: {reason}", markup=False, soft_wrap=True)
    else:
        console.print(str(error), markup=False, soft_wrap=True)
    if isinstance(error, StartError):
        console.print(f"The whole log: {error.log_path}", markup=False, soft_wrap=True)
    code = error.exit_code if isinstance(error, StartError) else _FAILED
    return _shell_code(code or _FAILED)


def _shell_code(code: int) -> int:
    """The code that a shell reports: 128 plus the number of the signal that ended the process."""
    return 128 - code if code < 0 else code
