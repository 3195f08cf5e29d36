"""The errors of the search, all within the client's tree.

InvalidInput
├── InvalidStore      there is no store, or it is of another version of this package
├── InvalidSource     unreadable lists of pictures, shards or metadata
├── InvalidFilter     `where` is not a condition over the store's columns
└── OtherMembers      a store and a server that do not belong together
StoreFailed           the store could not be read or written: a full disk, a lost connection
"""

from __future__ import annotations

from fovea_client import FoveaError, InvalidInput


class InvalidStore(InvalidInput):
    """There is no store, or it is of another version."""


class InvalidSource(InvalidInput):
    """A list of pictures, a shard or a metadata file cannot be read as one."""


class InvalidFilter(InvalidInput):
    """The condition names an unknown column, or is not SQL."""


class OtherMembers(InvalidInput):
    """The vectors of a store and those of a server come from different members or settings."""


class StoreFailed(FoveaError):
    """The store could not be read or written; earlier commits are complete."""
