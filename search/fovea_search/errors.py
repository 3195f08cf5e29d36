"""The errors of the search, all of them of the client's tree.

InvalidInput
├── InvalidStore      there is no store, or it is of another version of this package
├── InvalidSource     pictures or metadata that cannot be read as what they should be
├── InvalidFilter     `where` is no condition over the store's columns
└── OtherMembers      a store and a server that do not belong together
StoreFailed           the store could not be read or written: a full disk, a lost connection
"""

from __future__ import annotations

from fovea_client import FoveaError, InvalidInput


class InvalidStore(InvalidInput):
    """There is no store where one was expected, or none of this version."""


class InvalidSource(InvalidInput):
    """What should list pictures, or say more of them, cannot be read as that."""


class InvalidFilter(InvalidInput):
    """The condition names an unknown column, or is no SQL."""


class OtherMembers(InvalidInput):
    """The vectors of a store and those of a server come from different members or settings."""


class StoreFailed(FoveaError):
    """The store could not be read or written; what was committed before is whole."""
