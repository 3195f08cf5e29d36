"""Find anything in millions of unlabelled pictures: an index of their objects.

>>> from fovea_search import Index
>>> with Index.open("./index") as index:
...     finds = index.search(text="a red car", where="folder = 'night'", k=10)

`fovea index` writes the store, `fovea search` queries it; docs/search.md explains both.
"""

from fovea_search.errors import (
    InvalidFilter,
    InvalidSource,
    InvalidStore,
    OtherMembers,
    StoreFailed,
)
from fovea_search.finds import Find, Finds
from fovea_search.job import Job, Options, Summary
from fovea_search.metadata import Metadata
from fovea_search.records import MadeBy
from fovea_search.search import Index, Query
from fovea_search.servers import Servers
from fovea_search.store import Store

__all__ = [
    "Find",
    "Finds",
    "Index",
    "InvalidFilter",
    "InvalidSource",
    "InvalidStore",
    "Job",
    "MadeBy",
    "Metadata",
    "Options",
    "OtherMembers",
    "Query",
    "Servers",
    "Store",
    "StoreFailed",
    "Summary",
]
