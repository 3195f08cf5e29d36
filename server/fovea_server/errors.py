"""The exceptions of this package.

ServerError
├── TritonserverNotFoundError   no tritonserver on this machine
├── UnwritableError             the cache or the log cannot be written
├── RepositoryError             the model repository is missing, empty or damaged
├── StartError                  tritonserver ended or was not ready in time
│   └── ModelLoadError          ... because models failed to load
└── RestartLimitError           tritonserver dies more often than it may be restarted
"""

from collections.abc import Mapping
from pathlib import Path


class ServerError(Exception):
    """Base class of every error that this package raises on purpose."""


class TritonserverNotFoundError(ServerError):
    """No tritonserver was found; the message names the searched places and the pip extra."""


class UnwritableError(ServerError):
    """A file or folder that the server needs cannot be written; the message says how to move it."""


class RepositoryError(ServerError):
    """The model repository cannot be served as it is; nothing was started."""


class StartError(ServerError):
    """tritonserver ended, or was not ready in time.

    Attributes:
        exit_code: tritonserver's exit code, or None if it was still running.
        log_path: the file with its whole log.
    """

    def __init__(self, message: str, *, exit_code: int | None, log_path: Path) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log_path = log_path


class ModelLoadError(StartError):
    """Models failed to load.

    Attributes:
        reasons: model name -> the reason, as the model's backend or Triton gave it.
    """

    def __init__(
        self, reasons: Mapping[str, str], *, exit_code: int | None, log_path: Path
    ) -> None:
        lines = [f"{model}: {reason}" for model, reason in reasons.items()]
        super().__init__("\n".join(lines), exit_code=exit_code, log_path=log_path)
        self.reasons = dict(reasons)


class RestartLimitError(ServerError):
    """tritonserver or a backend process died more often than `max_restarts_per_minute`."""
