"""Pictures in Parquet: a column of encoded bytes, of datasets' {bytes, path}, or of paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from fovea_search.errors import InvalidSource
from fovea_search.records import Origin

# Tried in this order if no column is named.
BYTES_COLUMNS = ("image", "bytes", "img", "jpg", "png", "content")
PATH_COLUMNS = ("path", "file", "file_name", "url", "uri")
BATCH_ROWS = 64

# FILE.parquet#COLUMN/ROW
_ROW = re.compile(r"\.parquet#.+/\d+$", re.IGNORECASE)


def is_row(path: str) -> bool:
    """Whether a store's path is a picture within a Parquet file."""
    return _ROW.search(path) is not None


def rows(
    file_system: Any, path: str, uri: str, modified: float, column: str | None
) -> Iterator[tuple[Origin, bytes] | str]:
    """Each row's picture bytes, or its path instead; raises InvalidSource."""
    try:
        with file_system.open(path, "rb") as file:
            table = pq.ParquetFile(file)
            name = _column(table.schema_arrow, column)
            index = 0
            for batch in table.iter_batches(BATCH_ROWS, columns=[name]):
                for value in batch.column(0):
                    yield _picture(value.as_py(), f"{uri}#{name}/{index}", modified)
                    index += 1
    except pa.ArrowInvalid as error:
        raise InvalidSource(f"expected a Parquet file: {str(error).splitlines()[0]}") from error


def read_row(path: str) -> bytes:
    """The bytes of a row; raises InvalidSource if the file has changed."""
    where, _, row = path.rpartition("#")
    name, _, index = row.rpartition("/")
    column = _bytes_of(where, name)
    if int(index) >= len(column):
        raise InvalidSource(f"expected row {index} in {where!r}, which has {len(column)}")
    value = column[int(index)].as_py()
    data: bytes = value["bytes"] if isinstance(value, dict) else value
    return data


@lru_cache(2)
def _bytes_of(where: str, name: str) -> pa.ChunkedArray:
    with fsspec.open(where, "rb") as file:
        return pq.read_table(file, columns=[name]).column(0)


def _picture(value: Any, uri: str, modified: float) -> tuple[Origin, bytes] | str:
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, str):
        return data
    if data is None and isinstance(value, dict) and value.get("path"):
        return str(value["path"])
    data = data or b""
    folder = PurePosixPath(uri.rpartition("#")[0]).stem
    return Origin(uri, folder, len(data), modified), data


def _column(schema: pa.Schema, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in schema.names:
            raise InvalidSource(f"expected a column {wanted!r}, got {', '.join(schema.names)}")
        return wanted
    holds = {field.name for field in schema if _holds_bytes(field.type)}
    found = [name for name in (*BYTES_COLUMNS, *schema.names) if name in holds]
    found += [name for name in PATH_COLUMNS if name in schema.names]
    if not found:
        raise InvalidSource(
            f"expected a column of bytes, or of paths named {', '.join(PATH_COLUMNS)}, "
            f"got {', '.join(schema.names)}"
        )
    chosen: str = found[0]
    return chosen


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
