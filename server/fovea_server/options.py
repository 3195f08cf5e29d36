"""What a server is started with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# Triton's names of the APIs that change the server or reach its memory; closed to clients.
ADMINISTRATION_APIS = ("shared-memory", "model-repository", "trace", "logging")


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Everything about one server; the defaults suit a server for this machine alone.

    The text beside each option is its documentation and the help of its command-line flag.
    """

    model_repository: Path = field(metadata=_help("folder with one folder per model"))
    host: str = field(
        default="127.0.0.1", metadata=_help("address that gRPC, HTTP and metrics listen on")
    )
    grpc_port: int = field(default=8001, metadata=_help("TCP port of gRPC; 0 takes a free one"))
    http_port: int = field(default=8000, metadata=_help("TCP port of HTTP; 0 takes a free one"))
    metrics_port: int = field(
        default=8002, metadata=_help("TCP port of the metrics; 0 takes a free one")
    )
    model_control_mode: Literal["explicit", "none", "poll"] = field(
        default="explicit",
        metadata=_help(
            "explicit: load all models at the start and let the launcher, and nobody without its "
            "secret, reload the model of a dead backend process alone; none: restart the whole "
            "server instead; poll: also follow changes of the repository"
        ),
    )
    restart_dead_backends: bool = field(
        default=True, metadata=_help("watch the processes and replace the dead")
    )
    max_restarts_per_minute: int = field(
        default=5, metadata=_help("more reloads and restarts than this within 60 s end the server")
    )
    closed_apis: tuple[str, ...] = field(
        default=ADMINISTRATION_APIS,
        metadata=_help("APIs that need the launcher's secret, made anew at each start"),
    )
    cache_size_bytes: int = field(
        default=256 * 2**20, metadata=_help("memory of the response cache; 0 for no cache")
    )
    exit_timeout_s: int = field(
        default=30,
        metadata=_help("seconds that a stop waits for running requests and open connections"),
    )
    start_timeout_s: float = field(
        default=900.0, metadata=_help("seconds that loading all models may take")
    )
    strict_readiness: bool = field(
        default=True, metadata=_help("ready means that every model is ready")
    )
    load_threads: int = field(default=4, metadata=_help("how many models load at once"))
    metrics_interval_ms: int = field(
        default=2000, metadata=_help("milliseconds between CPU, GPU and cache metrics")
    )
    metrics_config: tuple[str, ...] = field(
        default=("summary_latencies=true",),
        metadata=_help("Triton's metrics settings, each name=value"),
    )
    verbosity: int = field(default=0, metadata=_help("Triton's verbose log level; 0 is off"))
    log_path: Path | None = field(
        default=None, metadata=_help("file of Triton's log; by default a new one in the cache")
    )
    extra_args: tuple[str, ...] = field(
        default=(), metadata=_help("arguments for tritonserver, as they are, last")
    )
