"""Starts NVIDIA Triton from a pip installation, or the one on PATH, and keeps it working."""

from fovea_server.errors import (
    ModelLoadError,
    RepositoryError,
    RestartLimitError,
    ServerError,
    StartError,
    TritonserverNotFoundError,
    UnwritableError,
)
from fovea_server.launcher import EmbeddedServer
from fovea_server.options import ServerOptions
from fovea_server.serving import serve

__all__ = [
    "EmbeddedServer",
    "ModelLoadError",
    "RepositoryError",
    "RestartLimitError",
    "ServerError",
    "ServerOptions",
    "StartError",
    "TritonserverNotFoundError",
    "UnwritableError",
    "serve",
]
