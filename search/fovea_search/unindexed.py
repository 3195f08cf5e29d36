"""Exact search among rows that the vector index does not cover yet.

Lance reads and decodes the vectors of such rows again for every query. Their files never change,
so here they are read once and stay in memory, up to KEPT_BYTES.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fovea_search import indexes
from fovea_search.records import VECTOR
from fovea_search.vectors import Floats, unit

# The most that the kept vectors take: 131,072 of 512 dimensions.
KEPT_BYTES = 256 << 20
# Memory while vectors are read: rows decoded at once, and bytes read ahead.
READ_ROWS, READ_AHEAD_BYTES = 4_096, 32 << 20


@dataclass(frozen=True, eq=False)
class Kept:
    """A fragment whose vectors stay in memory.

    before: number of rows before it in the table. name: of its files and its list of deleted rows,
    so that no other content has it.
    """

    fragment: Any
    before: int
    name: str


@dataclass(frozen=True, eq=False)
class Parts:
    """The fragments of one version of a table: those that Lance searches, and the kept ones."""

    version: int
    searched: Sequence[Any]
    kept: Sequence[Kept]


@dataclass(frozen=True, eq=False)
class _Rows:
    """A fragment's rows without deleted ones: uint64 [N], ascending; float32 [N, D] of length 1."""

    addresses: NDArray[np.uint64]
    vectors: Floats


class Unindexed:
    """Vectors of fragments without an index; safe to share between threads."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._parts = Parts(-1, (), ())
        self._rows: dict[str, _Rows] = {}
        self._lock = threading.Lock()

    def parts(self, data: Any) -> Parts:
        """Divides a dataset's fragments; without an index, the oldest that fit are kept."""
        with self._lock:
            if self._parts.version != data.version:
                self._parts = _divide(data, self._kept_bytes)
                names = {one.name for one in self._parts.kept}
                self._rows = {name: rows for name, rows in self._rows.items() if name in names}
            return self._parts

    def nearest(
        self,
        data: Any,
        kept: Sequence[Kept],
        condition: str,
        query: Floats,
        columns: Iterable[str],
        limit: int,
    ) -> pa.Table:
        """The rows of `kept` that are nearest to a query, float32 [D], with their `_distance`."""
        wanted, query = _addresses(data, [one.fragment for one in kept], condition), unit(query)
        places, distances = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for one in kept:
            start, end = (one.fragment.fragment_id + np.arange(2, dtype=np.uint64)) << np.uint64(32)
            own = wanted[slice(*np.searchsorted(wanted, [start, end]))]
            if len(own):
                rows = self._rows_of(one)
                found = np.searchsorted(rows.addresses, own)
                places.append(one.before + found)
                distances.append(1 - (rows.vectors @ query)[found])
        place, distance = np.concatenate(places), np.concatenate(distances)
        best = np.argsort(distance, kind="stable")[:limit]
        table: pa.Table = data.take(place[best].tolist(), columns=list(columns))
        return table.append_column("_distance", pa.array(distance[best]))

    def _rows_of(self, one: Kept) -> _Rows:
        with self._lock:
            if one.name not in self._rows:
                self._rows[one.name] = _read(one.fragment)
            return self._rows[one.name]


def _divide(data: Any, kept_bytes: int) -> Parts:
    covered, row_bytes = indexes.covered(data), 4 * data.schema.field(VECTOR).type.list_size
    searched, kept, before, left = list[Any](), list[Kept](), 0, kept_bytes
    for fragment in data.get_fragments():
        rows = fragment.metadata.num_rows
        if fragment.fragment_id in covered or rows * row_bytes > left:
            searched.append(fragment)
        else:
            name = f"{fragment.metadata!r} {fragment.deletion_file()}"
            kept.append(Kept(fragment, before, name))
            left -= rows * row_bytes
        before += rows
    return Parts(data.version, searched, kept)


def _addresses(data: Any, fragments: list[Any], condition: str) -> NDArray[np.uint64]:
    """Addresses of the rows that meet a condition: fragment << 32 | row, ascending.

    An index of a column would look for its rows in all other fragments too.
    """
    if not fragments:
        return np.zeros(0, np.uint64)
    found = data.scanner(
        columns=[],
        filter=condition,
        fragments=fragments,
        with_row_address=True,
        use_scalar_index=False,
    ).to_table()
    return np.sort(found["_rowaddr"].to_numpy())


def _read(fragment: Any) -> _Rows:
    batches = fragment.scanner(
        columns=[VECTOR],
        with_row_address=True,
        batch_size=READ_ROWS,
        batch_readahead=1,
        io_buffer_size=READ_AHEAD_BYTES,
    ).to_batches()
    count, size = fragment.metadata.num_rows, fragment.schema.field(VECTOR).type.list_size
    addresses, vectors, start = np.zeros(count, np.uint64), np.zeros((count, size), np.float32), 0
    for batch in batches:
        end, column = start + len(batch), batch[VECTOR]
        first = column.offset * size  # `values` has what lies before the batch, and for nulls too
        values = column.values.to_numpy()[first : first + len(batch) * size]
        vectors[start:end] = unit(values.reshape(-1, size))
        addresses[start:end] = batch["_rowaddr"].to_numpy()
        start = end
    return _Rows(addresses, vectors)
