"""The options of a server."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LOOPBACK = "127.0.0.1"
# Triton's names of the APIs that change the server or reach its memory; closed to clients.
ADMINISTRATION_APIS = ("shared-memory", "model-repository", "trace", "logging")


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Everything about one server; the defaults suit a server that only this machine can reach.

    The text beside each option is its documentation and the help of its command-line flag.
    """

    model_repository: Path = field(metadata=_help("folder with one folder per model"))
    host: str = field(
        default=LOOPBACK, metadata=_help("address that gRPC, HTTP and metrics listen on")
    )
    http_host: str | None = field(
        default=None,
        metadata=_help(
            "address that HTTP listens on; by default the others', or loopback with TLS, "
            "because Triton's HTTP has none"
        ),
    )
    grpc_port: int = field(default=8001, metadata=_help("TCP port of gRPC; 0 takes a free one"))
    http_port: int = field(default=8000, metadata=_help("TCP port of HTTP; 0 takes a free one"))
    metrics_port: int = field(
        default=8002, metadata=_help("TCP port of the metrics; 0 takes a free one")
    )
    tls_certificate: Path | None = field(
        default=None, metadata=_help("PEM file of the server's certificate: gRPC is encrypted")
    )
    tls_key: Path | None = field(
        default=None, metadata=_help("PEM file of that certificate's private key")
    )
    tls_client_ca: Path | None = field(
        default=None,
        metadata=_help("PEM file of the CA of client certificates, which are then required"),
    )
    max_connection_age_s: int = field(
        default=0,
        metadata=_help(
            "seconds after which a gRPC client is told to reconnect, so that long-lived "
            "connections spread over new servers; 0 for never"
        ),
    )
    max_connection_grace_s: int = field(
        default=120,
        metadata=_help("seconds that the requests of such a connection may take to finish"),
    )
    model_control_mode: Literal["explicit", "none", "poll"] = field(
        default="explicit",
        metadata=_help(
            "explicit: load all models at the start and let only the launcher, which has the "
            "secret, reload the model of a dead backend process; none: restart the whole server "
            "instead; poll: also follow changes of the repository"
        ),
    )
    restart_dead_backends: bool = field(
        default=True, metadata=_help("watch the processes and replace dead ones")
    )
    max_restarts_per_minute: int = field(
        default=5, metadata=_help("more reloads and restarts than this within 60 s end the server")
    )
    closed_apis: tuple[str, ...] = field(
        default=ADMINISTRATION_APIS,
        metadata=_help("APIs that need the launcher's secret, which is new at each start"),
    )
    cache_size_bytes: int = field(
        default=0,
        metadata=_help(
            "memory of Triton's response cache, for your own models that ask for it; fovea's "
            "have their own caches"
        ),
    )
    cuda_memory_pool_bytes: int = field(
        default=512 * 2**20,
        metadata=_help("GPU memory for tensors between the models, on each GPU; 0: Triton's 64 MB"),
    )
    pinned_memory_pool_bytes: int = field(
        default=512 * 2**20,
        metadata=_help("pinned memory for copies to and from GPUs; 0: Triton's 256 MB"),
    )
    verify_checksums: bool = field(
        default=True,
        metadata=_help("refuse files that differ from the checksums of their export"),
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
    trace_url: str | None = field(
        default=None,
        metadata=_help(
            "OTLP/HTTP address for OpenTelemetry traces, such as "
            "http://collector:4318/v1/traces; by default nothing is traced"
        ),
    )
    trace_rate: int = field(default=100, metadata=_help("one request in this many is traced"))
    verbosity: int = field(default=0, metadata=_help("Triton's verbose log level; 0 is off"))
    log_path: Path | None = field(
        default=None, metadata=_help("file of Triton's log; by default a new one in the cache")
    )
    log_max_bytes: int = field(
        default=16 * 2**20,
        metadata=_help("size at which the log file makes room for a new one; 0 for never"),
    )
    log_backups: int = field(
        default=4, metadata=_help("how many older parts of the log are kept beside it")
    )
    echo_log: bool = field(
        default=False, metadata=_help("copy Triton's log to stderr, as containers want it")
    )
    extra_args: tuple[str, ...] = field(
        default=(), metadata=_help("arguments for tritonserver, passed on last")
    )

    def __post_init__(self) -> None:
        """Raise ValueError for an incomplete set of TLS files."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("TLS takes both tls_certificate and tls_key")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("tls_client_ca takes tls_certificate and tls_key as well")

    @property
    def http_address(self) -> str:
        """The address that HTTP listens on."""
        return self.http_host or (LOOPBACK if self.tls_certificate else self.host)
