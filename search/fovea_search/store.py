"""The store: one Lance table of pictures and their objects, local or on object storage.

A picture and its objects are committed together, so a picture is done if, and only if, its row
exists. A picture is recognised by its content, not by its path.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.file import LanceFileReader
from lance.fragment import FragmentMetadata, write_fragments

from fovea_search import indexes
from fovea_search.errors import InvalidStore
from fovea_search.records import COLUMNS, OBJECT, PICTURE, VECTOR, Indexed, MadeBy, to_table
from fovea_search.storage import create_dataset, failures, locked, open_dataset
from fovea_search.unindexed import Unindexed

TABLE = "objects"
LOCK = ".writer.lock"
# Readers of older versions have this long to finish.
KEPT_VERSIONS = timedelta(days=7)
# Each commit makes a fragment; those with fewer rows than this are merged.
FRAGMENT_ROWS = 250_000
# Conditions whose row counts a store remembers.
KEPT_COUNTS = 1_000
# Values in one condition: longer ones are slow to parse.
IN_LIST = 1_000


@dataclass(frozen=True)
class Known:
    """A finished picture's facts in the store."""

    id: str
    path: str
    bytes: int
    modified: float
    error: str | None


@dataclass(frozen=True)
class Version:
    """A state of the store that can be restored."""

    number: int
    time: datetime
    rows: int


@dataclass(frozen=True, eq=False)
class Written:
    """Rows of pictures that are not committed yet; processes may pass them on.

    errors: picture id -> why it failed, or None. rows: with the columns of the store; None if in
    `fragments`, files of the store.
    """

    errors: Mapping[str, str | None]
    rows: pa.Table | None
    fragments: tuple[FragmentMetadata, ...] = ()


class Store:
    """An open store, from `open` or `create`. Several processes may write at the same time.

    Every method raises StoreFailed when the storage fails.
    """

    def __init__(self, uri: str, data: Any) -> None:
        self.uri, self._data = uri, data
        self.made_by = MadeBy.of_schema(data.schema, uri)
        self._counts: tuple[int, dict[str, int]] = data.version, {}
        self._unindexed = Unindexed()

    @staticmethod
    def is_there(uri: str) -> bool:
        """Whether there is a store of any version."""
        with failures(uri):
            return open_dataset(_table(uri)) is not None

    @classmethod
    def open(cls, uri: str | os.PathLike[str]) -> Store:
        """The store at a folder or a URI such as s3://bucket/index; raises InvalidStore."""
        location = os.fspath(uri)
        with failures(location):
            data = open_dataset(_table(location))
        if data is None:
            raise InvalidStore(
                f"expected a store in {location!r}, got none: "
                f"fovea index PICTURES --store {location}"
            )
        return cls(location, data)

    @classmethod
    def create(cls, uri: str | os.PathLike[str], made_by: MadeBy) -> Store:
        """The store at `uri`, a new one if none exists; raises OtherMembers if others made it."""
        location = os.fspath(uri)
        if not cls.is_there(location):
            with failures(location):
                try:
                    create_dataset(_table(location), made_by.schema())
                except OSError:
                    if not cls.is_there(location):  # else another process created it
                        raise
        store = cls.open(location)
        store.made_by.check_same(made_by)
        return store

    @property
    def _is_folder(self) -> bool:
        return "://" not in self.uri

    @property
    def columns(self) -> tuple[str, ...]:
        """All column names that a condition may use."""
        return tuple(self._data.schema.names)

    def count(self, where: str | None = None) -> int:
        """The number of rows that meet an SQL condition."""
        with failures(self.uri):
            return int(self._latest().count_rows(where))

    def known(self) -> Iterator[Known]:
        """All finished pictures, including failed ones."""
        return self._known(f"kind = '{PICTURE}'")

    def known_in(self, container: str) -> Iterator[Known]:
        """Finished pictures in a tar shard or Parquet file, and perhaps some in others."""
        like = "'%" + container.replace("'", "''") + "%'"
        return self._known(f"kind = '{PICTURE}' AND path LIKE {like}")

    def _known(self, where: str) -> Iterator[Known]:
        names = ["picture", "path", "bytes", "modified", "error"]
        for batch in self.read(names, where):
            for row in batch.to_pylist():
                yield Known(*row.values())

    def read(self, names: Sequence[str], where: str) -> Iterator[pa.RecordBatch]:
        """Columns of the rows that meet a condition."""
        with failures(self.uri):
            yield from self._latest().to_batches(columns=list(names), filter=where)

    def pictures(self, ids: Sequence[str], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns of the rows of whole pictures."""
        for condition in _in("picture", ids):
            yield from self.read(names, f"{with_vector(PICTURE)} AND {condition}")

    def commit(self, pictures: Sequence[Indexed]) -> list[str]:
        """Stores pictures with their objects in one step; returns the ids of the new ones.

        A successful result replaces the row of a failed picture.
        """
        mine = {one.id: one for one in pictures}
        with failures(self.uri), self._writing() as (data, alone):
            new = self._make_way(data, {id: one.error for id, one in mine.items()})
            if new:
                _insert(data, self._rows([mine[id] for id in new]), alone)
        return new

    def write(self, pictures: Sequence[Indexed]) -> Written:
        """Prepares rows for `commit_written`; readers do not see them before.

        In a folder they are written as files of the store, and only their names go to the process
        that commits. A later `optimize` removes the files of a killed process.
        """
        errors = {one.id: one.error for one in pictures}
        with failures(self.uri):
            rows = self._rows(list({one.id: one for one in pictures}.values()))
            if not self._is_folder or not rows.num_rows:
                return Written(errors, rows)
            fragments = write_fragments(rows, self._data, schema=rows.schema)
            return Written(errors, None, tuple(fragments))

    def commit_written(self, written: Written) -> list[str]:
        """Like `commit`, for rows that any process has written."""
        with failures(self.uri), self._writing() as (data, alone):
            new = self._make_way(data, written.errors)
            if not new:
                return []
            if alone and written.fragments and len(new) == len(written.errors):
                append = lance.LanceOperation.Append(list(written.fragments))
                lance.LanceDataset.commit(data, append, read_version=data.version)
            else:
                rows = written.rows if written.rows is not None else self._read_back(written)
                _insert(data, rows.filter(pc.is_in(rows["picture"], pa.array(new))), alone)
        return new

    def _read_back(self, written: Written) -> pa.Table:
        """The rows of fragments that are not committed."""
        folder = Path(self.uri, f"{TABLE}.lance", "data")
        paths = [str(folder / file.path) for one in written.fragments for file in one.files]
        return pa.concat_tables(LanceFileReader(path).read_all().to_table() for path in paths)

    def _rows(self, pictures: Sequence[Indexed]) -> pa.Table:
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        return to_table(pictures, self._data.schema, now)

    def failed(self, ids: Sequence[str]) -> dict[str, bool]:
        """Whether each stored picture failed, by id; other ids are left out."""
        found: dict[str, bool] = {}
        for condition in _in("picture", ids):
            for batch in self.read(["picture", "error"], f"kind = '{PICTURE}' AND {condition}"):
                found |= {row["picture"]: bool(row["error"]) for row in batch.to_pylist()}
        return found

    def _make_way(self, data: Any, errors: Mapping[str, str | None]) -> list[str]:
        """Deletes failed pictures that now succeeded; returns the ids that are to be stored."""
        failed = self.failed(list(errors))
        redone = [id for id, bad in failed.items() if bad and errors[id] is None]
        _delete(data, redone)
        return [id for id in errors if id not in failed or id in redone]

    def delete(self, ids: Iterable[str]) -> None:
        """Removes pictures with their objects."""
        with failures(self.uri), self._writing() as (data, _):
            _delete(data, list(ids))

    def update(self, rows: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> None:
        """Sets columns of pictures, by id, and of their objects."""
        if not rows:
            return
        types = {name: self._data.schema.field(name).type for name in names}
        columns = {n: pa.array([row[n] for row in rows.values()], types[n]) for n in names}
        table = pa.table({"picture": list(rows), **columns})
        with failures(self.uri), self._writing() as (data, _):
            data.merge_insert("picture").when_matched_update_all().execute(table)

    def add_columns(self, fields: Iterable[pa.Field]) -> None:
        """Adds missing columns; raises InvalidStore if one exists with another type."""
        with failures(self.uri), self._writing() as (data, _):
            there = {column.name: column.type for column in data.schema}
            for column in fields:
                if column.name not in there:
                    data.add_columns(pa.schema([column]))
                elif column.name in (*COLUMNS, VECTOR) or there[column.name] != column.type:
                    raise InvalidStore(
                        f"expected another name for the metadata's {column.name!r} "
                        f"({column.type}): the store has it as {there[column.name]}"
                    )

    def nearest(
        self, vector: Any, kind: str, where: str | None, names: Sequence[str], limit: int
    ) -> pa.Table:
        """Returns the rows whose vectors are nearest to one, float32 [D], with their `_distance`.

        Raises StoreFailed if `where` is not a valid condition.
        """
        condition = f"({where}) AND {with_vector(kind)}" if where else with_vector(kind)
        nearest = {"column": VECTOR, "q": vector, "k": limit, "metric": indexes.METRIC}
        with failures(self.uri):
            data = self._latest()
            rows = self._matches(data, condition)
            nearest |= indexes.effort(rows, self._matches(data, "true"))
            parts = self._unindexed.parts(data)
            found = self._unindexed.nearest(data, parts.kept, condition, vector, names, limit)
            if parts.searched:
                others = data.scanner(
                    columns=[*names, "_distance"],
                    filter=condition,
                    prefilter=True,
                    nearest=nearest,
                    fragments=parts.searched if parts.kept else None,
                ).to_table()
                found = pa.concat_tables([others, found]).sort_by("_distance").slice(0, limit)
        return found

    def _matches(self, data: Any, where: str) -> int:
        """Returns the number of rows that meet a condition; kept until the store changes."""
        version, known = self._counts
        if version != data.version or len(known) >= KEPT_COUNTS:
            version, known = self._counts = data.version, {}
        if where not in known:
            known[where] = int(data.count_rows(where))
        return known[where]

    def versions(self) -> list[Version]:
        """All kept states, oldest first."""
        with failures(self.uri):
            return [
                Version(one["version"], one["timestamp"], int(one["metadata"]["total_rows"]))
                for one in self._latest().versions()
            ]

    def restore(self, number: int) -> None:
        """Makes an older state the newest; raises InvalidStore if it is not kept."""
        if number not in {version.number for version in self.versions()}:
            raise InvalidStore(f"expected one of the versions that are kept, got {number}")
        with failures(self.uri), self._writing() as (data, _):
            data.checkout_version(number).restore()

    def _latest(self) -> Any:
        """Returns the newest version. The former one stays as it is: other threads may read it."""
        newest = self._data.latest_version
        if newest != self._data.version:
            self._data = self._data.checkout_version(newest)
        return self._data

    def optimize(self, *, indexed_rows: int = indexes.INDEXED_ROWS) -> None:
        """Merges small fragments and brings the indexes up to date; queries go on meanwhile.

        indexed_rows: the least number of vectors for an index.
        """
        with failures(self.uri):
            data = self._own()
            data.optimize.compact_files(target_rows_per_fragment=FRAGMENT_ROWS)
            data.checkout_latest()
            columns = ["picture", "kind"]
            if not self._is_folder:  # merges tell rows apart by it
                columns.append("id")
            indexes.keep_up(data, data.count_rows("error IS NULL"), indexed_rows, columns)
            data.checkout_latest()
            data.cleanup_old_versions(older_than=KEPT_VERSIONS)
            self._latest()

    def _own(self) -> Any:
        """Returns the newest version for this caller alone: writes change a dataset in place."""
        return open_dataset(_table(self.uri), self._data.session())

    @contextmanager
    def _writing(self) -> Iterator[tuple[Any, bool]]:
        """Yields the newest version to write to, and whether other processes' commits wait.

        On object storage they cannot be made to wait.
        """
        lock = locked(Path(self.uri, LOCK)) if self._is_folder else nullcontext(False)
        with lock as alone:
            yield self._own(), alone
            self._latest()


def _table(uri: str) -> str:
    """Returns the URI of a store's table."""
    return f"{uri.rstrip('/')}/{TABLE}.lance"


def _insert(data: Any, rows: pa.Table, alone: bool) -> None:
    """Adds rows. Without a lock their ids tell them apart from rows that others add meanwhile."""
    if alone:
        data.insert(rows)
    else:
        data.merge_insert("id").when_not_matched_insert_all().execute(rows)


def _delete(data: Any, ids: list[str]) -> None:
    for condition in _in("picture", ids):
        data.delete(condition)


def with_vector(kind: str) -> str:
    """The condition for rows of a kind that have a vector.

    A condition on the vectors themselves would read all of them.
    """
    return f"kind = '{kind}'" + (" AND error IS NULL" if kind == PICTURE else "")


def _in(column: str, values: Sequence[str]) -> list[str]:
    """SQL conditions of at most IN_LIST quoted values each."""
    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    return [
        f"{column} IN ({', '.join(quoted[start : start + IN_LIST])})"
        for start in range(0, len(values), IN_LIST)
    ]


__all__ = ["OBJECT", "PICTURE", "Known", "Store", "Version", "Written", "with_vector"]
