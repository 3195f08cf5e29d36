"""A CSV or Parquet file with facts about pictures, as columns to filter by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fovea_search.errors import InvalidSource
from fovea_search.parquet import PATH_COLUMNS
from fovea_search.sources import relative_names

# Types that conditions can compare; others are stored as one of these.
_KEPT = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us"))


class Metadata:
    """Columns of pictures, looked up by their path, by its end, or by the file's name.

    fields: the columns. Raises InvalidSource.
    """

    def __init__(self, path: str) -> None:
        table = _read(path)
        key = next((name for name in PATH_COLUMNS if name in table.column_names), None)
        if key is None:
            raise InvalidSource(
                f"expected a column named {', '.join(PATH_COLUMNS)} in {path!r}, "
                f"got {', '.join(table.column_names)}"
            )
        names = [name for name in table.column_names if name != key]
        self.fields = [pa.field(name, _kept(table.schema.field(name).type)) for name in names]
        columns = [table.column(field.name).cast(field.type) for field in self.fields]
        self._index = {str(p): i for i, p in enumerate(table.column(key).to_pylist())}
        self._rows = pa.table(columns, names=names) if names else None

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [field.name for field in self.fields]

    def of(self, path: str) -> Mapping[str, Any]:
        """The columns of a picture; empty for one that the file does not name."""
        for name in relative_names(path):
            if name in self._index and self._rows is not None:
                row: dict[str, Any] = self._rows.slice(self._index[name], 1).to_pylist()[0]
                return row
        return {}


def _read(path: str) -> pa.Table:
    try:
        with fsspec.open(path, "rb") as file:
            if path.lower().endswith(".parquet"):
                return pq.read_table(file)
            return pyarrow.csv.read_csv(file)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise InvalidSource(f"expected CSV or Parquet in {path!r}: {reason}") from error


def _kept(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_temporal(kind) and not pa.types.is_time(kind):
        return pa.timestamp("us")
    return kind if kind in _KEPT else pa.string()
