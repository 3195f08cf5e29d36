"""Queries and commands for a running tritonserver over HTTP, with the launcher's secret."""

import contextlib
import http.client
import json
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fovea_server.command import READING_HEADER, SECRET_HEADER
from fovea_server.errors import ServerError

_READY_TIMEOUT_S = 2.0
# Generous: a command that runs out of time costs a restart of the whole server.
_ORDER_TIMEOUT_S = 20.0
# A parameter that no backend knows: it changes the configuration, so that Triton loads the model
# again instead of keeping the instances whose process is dead.
_RELOAD_PARAMETER = "fovea_reload"


# "<group>_<number>" on the CPU, "<group>_<number>_gpu<device>" on a GPU.
_INSTANCE_NUMBER = re.compile(r"_(\d+)(_gpu\d+)?$")


def has_instance(config: Mapping[str, Any], instance: str) -> bool:
    """Whether a model's configuration creates an instance of this name."""
    number = _INSTANCE_NUMBER.search(instance)
    if number is None:
        return False
    groups = {group["name"]: group.get("count", 1) for group in config.get("instance_group", ())}
    return bool(int(number[1]) < groups.get(instance[: number.start()], 0))


class Administration:
    """Talks to one server; holds the secrets that open its closed APIs."""

    def __init__(self, *, host: str, port: int) -> None:
        self._host = host
        self.port = port
        self.secret = secrets.token_urlsafe(32)
        self.reading_secret = secrets.token_urlsafe(32)
        self._hidden_in: int | None = None

    def is_ready(self) -> bool:
        """Whether the server reports that it is ready; False if nothing listens."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._ask("GET", "/v2/health/ready")[0] == 200
        return False

    def models(self) -> list[str]:
        """The names of the models that are ready.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        return sorted({e["name"] for e in self._index() if e.get("state") == "READY"})

    def load_changes(self, *, timeout_s: float) -> list[str]:
        """Load new versions, configurations and models of the model repository.

        Triton 2.51 reloads every model, changed or not; each serves its old version until the new
        one is ready. Networks come first, then the models that call them, so that a step that
        caches a network's answers starts with an empty cache once the network is new.

        Returns:
            Names of the models that are ready.

        Raises:
            ServerError: one could not be loaded, with Triton's reason; the old version stays.
        """
        for model in sorted({entry["name"] for entry in self._index()}, key=self._load_order):
            self._order("POST", f"/v2/repository/models/{model}/load", {}, timeout_s=timeout_s)
        return self.models()

    def _load_order(self, model: str) -> tuple[int, str]:
        """Networks, Python models, then ensembles and never loaded models; each by name."""
        with contextlib.suppress(ServerError):
            config = json.loads(self._order("GET", f"/v2/models/{model}/config"))
            if config.get("platform") != "ensemble":
                return int(config.get("backend") == "python"), model
        return 2, model

    def model_of_instance(self, instance: str) -> str | None:
        """The ready model that should have this instance; None if none should.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        for model in self.models():
            if has_instance(json.loads(self._order("GET", f"/v2/models/{model}/config")), instance):
                return model
        return None

    def reload(self, model: str, *, timeout_s: float) -> None:
        """Load the model again, then drop the old one; other models keep serving.

        Raises:
            ServerError: it could not be loaded; the message has Triton's reason.
        """
        config: dict[str, Any] = json.loads(self._order("GET", f"/v2/models/{model}/config"))
        parameters = config.setdefault("parameters", {})
        parameters[_RELOAD_PARAMETER] = {"string_value": str(time.time_ns())}
        body = {"parameters": {"config": json.dumps(config)}}
        path = f"/v2/repository/models/{model}/load"
        self._order("POST", path, body, timeout_s=timeout_s)

    def close_ensembles(self) -> None:
        """Close the ensembles to new requests; running ones go on.

        Triton 2.51 stops all models at once when it is told to end, so a request between two steps
        of an ensemble would fail.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        for model in self.models():
            config = json.loads(self._order("GET", f"/v2/models/{model}/config"))
            if config.get("platform") == "ensemble":
                body = {"parameters": {"unload_dependents": False}}
                self._order("POST", f"/v2/repository/models/{model}/unload", body)

    def is_draining(self) -> bool:
        """Whether a closed model still has running requests; raises ServerError."""
        return any(entry.get("state") == "UNLOADING" for entry in self._index())

    def hide_secrets(self, pid: int) -> None:
        """Overwrite the secrets in this process's arguments, which other users can read.

        tritonserver has parsed its arguments by its first log line; it does not need the copy in
        /proc/<pid>/cmdline. Other users of the machine can read the secrets until then, some tens
        of milliseconds, and for good if the system forbids the writing: among users who do not
        trust each other, choose the model control mode "none".
        """
        if self._hidden_in == pid:
            return
        self._hidden_in = pid
        for secret in (self.secret, self.reading_secret):
            with contextlib.suppress(OSError, ValueError):
                _overwrite_argument(pid, secret.encode())

    def _index(self) -> list[dict[str, str]]:
        index: list[dict[str, str]] = json.loads(self._order("POST", "/v2/repository/index", {}))
        return index

    def _ask(
        self, method: str, path: str, body: object = None, timeout_s: float = _READY_TIMEOUT_S
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._host, self.port, timeout=timeout_s)
        try:
            text = None if body is None else json.dumps(body)
            headers = {SECRET_HEADER: self.secret, READING_HEADER: self.reading_secret}
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def _order(
        self, method: str, path: str, body: object = None, timeout_s: float = _ORDER_TIMEOUT_S
    ) -> str:
        try:
            status, text = self._ask(method, path, body, timeout_s)
        except (OSError, http.client.HTTPException) as exc:
            raise ServerError(f"{method} {path}: {exc}") from exc
        if status != 200:
            raise ServerError(f"{method} {path}: HTTP {status}: {text}")
        return text


def _overwrite_argument(pid: int, argument: bytes) -> None:
    # Fields 48 and 49 of /proc/<pid>/stat, counted after the name in parentheses: see proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        arguments = memory.read(end - start)
        at = arguments.find(argument)
        while at >= 0:
            memory.seek(start + at)
            memory.write(b"*" * len(argument))
            at = arguments.find(argument, at + 1)
