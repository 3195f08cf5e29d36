"""The errors that stop an export."""

from fovea.errors import FoveaError


class ExportError(FoveaError):
    """Root of the errors that stop an export."""


class CheckpointUnavailable(ExportError):
    """A checkpoint is neither a local folder nor reachable on the hub."""


class InvalidCheckpoint(ExportError):
    """A checkpoint's files are broken, belong to another model, or do not fit each other."""


class UnsupportedProcessor(ExportError):
    """A checkpoint's image processor has a setting that is not supported here."""


class InvalidOption(ExportError):
    """A deployment gives a member an option that its family does not take."""


class ParityError(ExportError):
    """An exported network does not do what its checkpoint does."""


class UnsupportedPrecision(ExportError):
    """A runtime does not run networks of this precision."""


class RuntimeUnavailable(ExportError):
    """A package that a runtime needs is not installed here."""


class EngineError(ExportError):
    """An engine cannot be built, or does not do what its network does."""


class AccuracyLost(ExportError):
    """A lower precision loses more accuracy than is allowed."""
