"""Runs the job of `fovea index` on pictures of the demo."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fovea_client import Client, console
from fovea_search import Job, Servers, Store, Summary, sources
from fovea_search.servers import VERB, open_store


def index(client: Client, inputs: Iterable[str], store: Path) -> tuple[Store, Summary]:
    """Put new files and folders into a store, which is created if there is none.

    Raises OtherMembers for a store with other weights.
    """
    opened = open_store(str(store), [client], VERB, {})
    found = list(sources.find(inputs, lambda path, reason: None))
    with console.progress_bar(shown=True) as progress:
        job = Job(opened, Servers([client], VERB, {}))
        return opened, job.run(found, total=len(found), progress=progress)
