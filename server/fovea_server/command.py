"""Builds the command line of tritonserver."""

from pathlib import Path

from fovea_server.hardware import Hardware
from fovea_server.installation import BackendDirectory
from fovea_server.options import ServerOptions
from fovea_server.ports import Ports

# The header that opens the closed APIs; gRPC prefixes it with "triton-grpc-protocol-".
SECRET_HEADER = "x-fovea-admin"
# The same for APIs that only report. The probe finds this secret in the environment of
# tritonserver, which only its user can read.
READING_HEADER = "x-fovea-read"
READING_SECRET = "FOVEA_READING_SECRET"
_READING_APIS = ("statistics", "model-config")

# The backends whose models are Python processes with shared memory.
_WITH_STUBS = ("python", "onnxruntime")


def build_command(
    options: ServerOptions,
    *,
    repository: Path,
    backends: BackendDirectory,
    ports: Ports,
    secret: str,
    reading_secret: str,
    regions: str,
    hardware: Hardware,
) -> list[str]:
    """tritonserver's argument list.

    Args:
        options: what the server is started with.
        repository: the model repository, by a path that is safe in a shell.
        backends: where its program, backends and caches are.
        ports: the ports, none of them 0.
        secret: the value of SECRET_HEADER that opens `options.closed_apis`.
        reading_secret: the value of READING_HEADER that opens those of them that change nothing.
        regions: prefix of the names of the stubs' shared memory.
        hardware: what the machine has.
    """
    command = [
        str(backends.tritonserver),
        f"--model-repository={repository}",
        f"--backend-directory={backends.folder}",
        "--disable-auto-complete-config",
        f"--strict-readiness={_flag(options.strict_readiness)}",
        f"--exit-timeout-secs={options.exit_timeout_s}",
        f"--model-load-thread-count={options.load_threads}",
        f"--log-verbose={options.verbosity}",
        *_model_control(options),
        *_addresses(options, ports),
        *_tls(options),
        *_connection_age(options),
        *_traces(options),
        *_cache(options, backends),
        *_stubs(backends, regions),
        *_threads(backends, hardware),
        *_memory_pools(options, hardware),
        f"--metrics-interval-ms={options.metrics_interval_ms}",
        *(f"--metrics-config={setting}" for setting in options.metrics_config),
    ]
    command += _closed_apis(options, secret, reading_secret)
    return [*command, *options.extra_args]


def _closed_apis(options: ServerOptions, secret: str, reading_secret: str) -> list[str]:
    reading = [api for api in options.closed_apis if api in _READING_APIS]
    others = [api for api in options.closed_apis if api not in _READING_APIS]
    rules = [
        f"{','.join(apis)}:{header}={value}"
        for apis, header, value in (
            (others, SECRET_HEADER, secret),
            (reading, READING_HEADER, reading_secret),
        )
        if apis
    ]
    flags = ("http-restricted-api", "grpc-restricted-protocol")
    return [f"--{flag}={rule}" for flag in flags for rule in rules]


def _model_control(options: ServerOptions) -> list[str]:
    mode = [f"--model-control-mode={options.model_control_mode}"]
    return [*mode, "--load-model=*"] if options.model_control_mode == "explicit" else mode


def _addresses(options: ServerOptions, ports: Ports) -> list[str]:
    return [
        f"--grpc-address={options.host}",
        f"--grpc-port={ports.grpc}",
        f"--http-address={options.http_address}",
        f"--http-port={ports.http}",
        f"--metrics-address={options.host}",
        f"--metrics-port={ports.metrics}",
    ]


def _tls(options: ServerOptions) -> list[str]:
    if not options.tls_certificate or not options.tls_key:
        return []
    files = [
        f"--grpc-server-cert={Path(options.tls_certificate).absolute()}",
        f"--grpc-server-key={Path(options.tls_key).absolute()}",
    ]
    if not options.tls_client_ca:
        return ["--grpc-use-ssl=true", *files]
    root = f"--grpc-root-cert={Path(options.tls_client_ca).absolute()}"
    return ["--grpc-use-ssl-mutual=true", *files, root]


def _connection_age(options: ServerOptions) -> list[str]:
    if not options.max_connection_age_s:
        return []
    return [
        f"--grpc-max-connection-age={options.max_connection_age_s * 1000}",
        f"--grpc-max-connection-age-grace={options.max_connection_grace_s * 1000}",
    ]


def _traces(options: ServerOptions) -> list[str]:
    if not options.trace_url:
        return []
    settings = (
        "mode=opentelemetry",
        "level=TIMESTAMPS",
        f"rate={options.trace_rate}",
        f"opentelemetry,url={options.trace_url}",
        "opentelemetry,resource=service.name=fovea",
    )
    return [f"--trace-config={setting}" for setting in settings]


def _cache(options: ServerOptions, backends: BackendDirectory) -> list[str]:
    if not options.cache_size_bytes:
        return []
    return [
        f"--cache-directory={backends.caches}",
        f"--cache-config=local,size={options.cache_size_bytes}",
    ]


def _stubs(backends: BackendDirectory, regions: str) -> list[str]:
    with_stubs = _WITH_STUBS[:1] if backends.official_onnxruntime else _WITH_STUBS
    return [f"--backend-config={name},shm-region-prefix-name={regions}" for name in with_stubs]


def _threads(backends: BackendDirectory, hardware: Hardware) -> list[str]:
    """One thread pool for all networks of the official onnxruntime backend on a processor.

    ONNX Runtime's threads spin while they wait, and by default each network has its own: with the
    demo's five, main_object ran at 1.5 to 1.6 times the plain pipeline, and at 2.4 with one pool.
    """
    if hardware.gpus or not backends.official_onnxruntime:
        return []
    settings = ("enable-global-threadpool=1", f"intra_op_thread_count={hardware.cores}")
    return [f"--backend-config=onnxruntime,{setting}" for setting in settings]


def _memory_pools(options: ServerOptions, hardware: Hardware) -> list[str]:
    """Room for the tensors between the models: the masks of 128 prompts alone take 134 MB."""
    if not hardware.gpus:
        return []
    pools: list[str] = []
    if size := options.cuda_memory_pool_bytes:
        pools += [f"--cuda-memory-pool-byte-size={gpu}:{size}" for gpu in range(hardware.gpus)]
    if size := options.pinned_memory_pool_bytes:
        pools.append(f"--pinned-memory-pool-byte-size={size}")
    return pools


def _flag(value: bool) -> str:
    return "true" if value else "false"
