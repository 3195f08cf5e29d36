"""What a server is started with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Triton's names of the APIs that change the server or reach its memory; closed to clients.
ADMINISTRATION_APIS = ("shared-memory", "model-repository", "trace", "logging")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Everything about one server; the defaults suit a server for this machine alone.

    Attributes:
        model_repository: folder with one folder per model.
        host: the address that gRPC, HTTP and metrics listen on.
        grpc_port, http_port, metrics_port: TCP ports; 0 takes a free one.
        model_control_mode: "explicit" loads every model at the start and lets the launcher (and
            nobody without its secret) reload the model of a dead backend process alone; with
            "none" a dead backend process restarts the whole server; "poll" also follows changes
            of the repository.
        restart_dead_backends: watch the backend processes and replace the dead.
        max_restarts_per_minute: beyond this many reloads and restarts within 60 s the server ends.
        closed_apis: APIs that need the launcher's secret header, one made per start.
        cache_size_bytes: memory of the response cache; 0 for no cache.
        exit_timeout_s: how long a stop waits for running requests and open connections, in s.
        start_timeout_s: how long loading all models may take, in s.
        strict_readiness: ready means every model is ready.
        load_threads: how many models load at once.
        metrics_interval_ms: how often CPU, GPU and cache metrics are taken, in ms.
        metrics_config: Triton's metrics settings, each "name=value".
        verbosity: Triton's verbose log level; 0 is off.
        log_path: file of Triton's log; None makes one in the cache folder.
        extra_args: handed to tritonserver as they are, last.
    """

    model_repository: Path
    host: str = "127.0.0.1"
    grpc_port: int = 8001
    http_port: int = 8000
    metrics_port: int = 8002
    model_control_mode: Literal["explicit", "none", "poll"] = "explicit"
    restart_dead_backends: bool = True
    max_restarts_per_minute: int = 5
    closed_apis: tuple[str, ...] = ADMINISTRATION_APIS
    cache_size_bytes: int = 256 * 1024 * 1024
    exit_timeout_s: int = 30
    start_timeout_s: float = 900.0
    strict_readiness: bool = True
    load_threads: int = 4
    metrics_interval_ms: int = 2000
    metrics_config: tuple[str, ...] = ("summary_latencies=true",)
    verbosity: int = 0
    log_path: Path | None = None
    extra_args: tuple[str, ...] = ()
