"""The columns of the store: all facts kept about a picture, named here only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from fovea_client import Objects
from numpy.typing import NDArray

from fovea_search.errors import InvalidStore, OtherMembers

# Changes with the meaning of columns: stores with another version are refused.
SCHEMA_VERSION = 1
VERSION_KEY, MADE_BY_KEY = "fovea.search.schema", "fovea.search.made_by"

PICTURE, OBJECT = "picture", "object"
VECTOR = "vector"

# name -> type; `kind` says which of them a row has. Boxes are xyxy in pixels of the upright
# picture, `area` is the mask's share of the picture, `mask` COCO's run lengths of [height, width].
COLUMNS: Mapping[str, pa.DataType] = {
    "id": pa.string(),
    "kind": pa.string(),
    "picture": pa.string(),
    "object": pa.int32(),
    "path": pa.string(),
    "folder": pa.string(),
    "bytes": pa.int64(),
    "modified": pa.float64(),
    "taken": pa.timestamp("us"),
    "indexed": pa.timestamp("us"),
    "width": pa.int32(),
    "height": pa.int32(),
    "box": pa.list_(pa.float32(), 4),
    "mask": pa.binary(),
    "area": pa.float32(),
    "score": pa.float32(),
    "stability": pa.float32(),
    "thumbnail": pa.binary(),
    "error": pa.string(),
}


@dataclass(frozen=True)
class MadeBy:
    """The origin of a store's vectors.

    dimensions: of a vector. verb: the one that made it. members: their fingerprints by what they do
    ("embeds", "cuts"). settings: sent with every picture.
    """

    dimensions: int
    verb: str
    members: Mapping[str, str]
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def embedder(self) -> str:
        """The fingerprint of the member that made the vectors."""
        return self.members.get("embeds", "")

    def check_same(self, other: MadeBy) -> None:
        """Raise OtherMembers unless `other` makes rows for the same store."""
        for slot, ours in self.members.items():
            theirs = other.members.get(slot, "")
            if ours != theirs:
                raise OtherMembers(
                    f"expected the store's own member as {slot!r}, {_short(ours)}, the server has "
                    f"{_short(theirs)}: index into another --store, or serve the former member"
                )
        if dict(self.settings) != dict(other.settings):
            raise OtherMembers(
                f"expected the settings that the store was begun with, {dict(self.settings)}, "
                f"got {dict(other.settings)}: leave them out, or index into another --store"
            )

    def check_embedder(self, fingerprint: str, dimensions: int) -> None:
        """Raise OtherMembers unless a query's vector comes from the store's embedder."""
        if fingerprint != self.embedder or dimensions != self.dimensions:
            raise OtherMembers(
                f"expected a query of the store's embedder, {_short(self.embedder)} with "
                f"{self.dimensions} dimensions, got {_short(fingerprint)} with {dimensions}: ask "
                "the server that made the store, or index the pictures again into another --store"
            )

    def schema(self) -> pa.Schema:
        """The columns of a new store."""
        vector = pa.field(VECTOR, pa.list_(pa.float32(), self.dimensions))
        fields = [pa.field(name, kind, name != "id") for name, kind in COLUMNS.items()]
        # Without it, two writers that merge at the same time store a row twice (seen with lance 14
        # on S3).
        key = {"lance-schema:unenforced-primary-key": "true"}
        fields[0] = fields[0].with_metadata(key)
        metadata = {VERSION_KEY: str(SCHEMA_VERSION), MADE_BY_KEY: json.dumps(asdict(self))}
        return pa.schema([*fields, vector], metadata)

    @classmethod
    def of_schema(cls, schema: pa.Schema, where: str) -> MadeBy:
        """The inverse of `schema`; raises InvalidStore."""
        metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        version = metadata.get(VERSION_KEY)
        if version != str(SCHEMA_VERSION):
            raise InvalidStore(
                f"expected a store of schema {SCHEMA_VERSION} in {where!r}, got {version}: use the "
                "version of fovea that wrote it, or index the pictures again into another --store"
            )
        return cls(**json.loads(metadata[MADE_BY_KEY]))


@dataclass(frozen=True)
class Origin:
    """Where a picture's bytes are. modified: seconds since 1970, 0 if unknown."""

    path: str
    folder: str
    bytes: int
    modified: float


@dataclass(frozen=True, eq=False)
class Indexed:
    """A finished picture: the answer of `embed_objects`, or why there is none.

    id: the content's SHA-256 in hex; for unreadable bytes, a name made from the path.
    extra: its metadata columns.
    """

    id: str
    origin: Origin
    found: Objects | None
    error: str | None = None
    taken: datetime | None = None
    thumbnail: bytes | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def to_table(pictures: Sequence[Indexed], schema: pa.Schema, now: datetime) -> pa.Table:
    """A row for each picture and each object in it, in the columns of `schema`."""
    rows: list[dict[str, Any]] = []
    vectors: list[NDArray[np.float32]] = []
    size = schema.field(VECTOR).type.list_size
    for one in pictures:
        common = _common(one) | {"indexed": now}
        rows.append(common | {"kind": PICTURE, "id": one.id, "thumbnail": one.thumbnail})
        if one.found is None:
            rows[-1]["error"] = one.error
            vectors.append(np.full(size, np.nan, np.float32))
            continue
        assert one.found.picture_embedding is not None and one.found.embeddings is not None
        vectors.append(one.found.picture_embedding)
        rows += [common | _of_object(one.id, one.found, i) for i in range(len(one.found))]
        vectors += list(one.found.embeddings)
    columns = [
        _vectors(vectors, size)
        if column.name == VECTOR
        else pa.array([row.get(column.name) for row in rows], column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _common(one: Indexed) -> dict[str, Any]:
    height, width = one.found.size_hw if one.found else (None, None)
    origin = asdict(one.origin)
    size = {"width": width, "height": height}
    return {**one.extra, **origin, **size, "picture": one.id, "taken": one.taken}


def _of_object(picture: str, found: Objects, index: int) -> dict[str, Any]:
    mask = found.masks[index]
    height, width = found.size_hw
    return {
        "id": f"{picture}:{index}",
        "kind": OBJECT,
        "object": index,
        "box": found.boxes[index],
        "mask": mask.counts,
        "area": mask.area / (height * width),
        "score": float(found.scores[index]),
        "stability": float(found.stability[index]),
    }


def _vectors(vectors: Sequence[NDArray[np.float32]], size: int) -> pa.Array:
    """Vectors as an array; rows of NaN become nulls."""
    array = np.concatenate(vectors) if vectors else np.zeros(0, np.float32)
    absent = np.array([bool(np.isnan(vector[0])) for vector in vectors], np.bool_)
    mask = pa.array(absent) if absent.any() else None
    return pa.FixedSizeListArray.from_arrays(pa.array(array), size, mask=mask)


def _short(fingerprint: str) -> str:
    return fingerprint[:12] or "none"
