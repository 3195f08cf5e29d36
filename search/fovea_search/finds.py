"""The results of a search, as frozen data. Boxes are xyxy, float32, in pixels of the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from fovea_client import Mask, SegmentedDetections
from numpy.typing import NDArray

from fovea_search.records import COLUMNS, OBJECT, VECTOR

if TYPE_CHECKING:
    import pandas
    import supervision

JSON_DIGITS = 6
# Columns of a find; `columns` are a store's own beyond those of `records.COLUMNS`.
NEEDED = (
    "id", "kind", "picture", "object", "path", "folder", "taken", "width", "height", "box", "mask",
    "area", "score", "stability",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Find:
    """An object, or a whole picture, that a search found.

    id: for marks, and for queries by a find. score: see `fovea_search.vectors`. picture: the
    content's SHA-256. box: [4]; None for a picture, like mask, area (share of the picture) and
    mask_score (the predicted IoU). size_hw: (height, width) of the picture. columns: metadata.
    """

    id: str
    score: float
    kind: str
    picture: str
    path: str
    folder: str
    taken: datetime | None
    size_hw: tuple[int, int]
    box: NDArray[np.float32] | None
    mask: Mask | None
    area: float | None
    mask_score: float | None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], score: float) -> Find:
        """Makes a find from a row of the store with at least the columns NEEDED."""
        size_hw = (row["height"], row["width"])
        mine = row["kind"] == OBJECT
        return cls(
            id=row["id"],
            score=score,
            kind=row["kind"],
            picture=row["picture"],
            path=row["path"],
            folder=row["folder"],
            taken=row["taken"],
            size_hw=size_hw,
            box=np.array(row["box"], np.float32) if mine else None,
            mask=Mask(row["mask"], size_hw) if mine else None,
            area=row["area"],
            mask_score=row["score"],
            columns={k: v for k, v in row.items() if k not in COLUMNS and k[0] != "_"},
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; the mask as COCO RLE."""
        return {
            "id": self.id,
            "score": _round(self.score),
            "kind": self.kind,
            "path": self.path,
            "folder": self.folder,
            "taken": None if self.taken is None else self.taken.isoformat(),
            "size_hw": list(self.size_hw),
            "box": None if self.box is None else [_round(edge) for edge in self.box.tolist()],
            "mask": None if self.mask is None else self.mask.to_coco(),
            "area": _round(self.area),
            "mask_score": _round(self.mask_score),
            **{name: _plain(value) for name, value in self.columns.items()},
        }


@dataclass(frozen=True, eq=False)
class Finds(Sequence[Find]):
    """The finds of a search, best first. folded: number of near-duplicates left out."""

    finds: tuple[Find, ...]
    query: str = ""
    folded: int = 0

    def __len__(self) -> int:
        return len(self.finds)

    def __iter__(self) -> Iterator[Find]:
        return iter(self.finds)

    @overload
    def __getitem__(self, index: int) -> Find: ...
    @overload
    def __getitem__(self, index: slice) -> Finds: ...
    def __getitem__(self, index: int | slice) -> Find | Finds:
        if isinstance(index, slice):
            return Finds(self.finds[index], self.query, self.folded)
        return self.finds[index]

    def by_picture(self) -> dict[str, Finds]:
        """The finds of each picture by its path, the picture with the best find first."""
        order = {find.path: rank for rank, find in reversed(list(enumerate(self.finds)))}
        ordered = sorted(self.finds, key=lambda find: (order[find.path], -find.score))
        groups = groupby(ordered, key=lambda find: find.path)
        return {path: Finds(tuple(group), self.query) for path, group in groups}

    def to_detections(self) -> dict[str, SegmentedDetections]:
        """The objects of each picture by its path; their phrase is the query's words."""
        return {
            path: _detections([find for find in finds if find.mask is not None], self.query)
            for path, finds in self.by_picture().items()
            if any(find.mask is not None for find in finds)
        }

    def to_supervision(self) -> dict[str, supervision.Detections]:
        """`supervision.Detections` of each picture by its path; ImportError without supervision."""
        return {path: found.to_supervision() for path, found in self.to_detections().items()}

    def to_coco_json(self) -> dict[str, Any]:
        """A COCO dataset of the objects: images, annotations with scores, and one category."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id, (path, found) in enumerate(self.to_detections().items(), start=1):
            height, width = found.size_hw
            images.append({"id": image_id, "file_name": path, "height": height, "width": width})
            for one in found.to_coco_json(image_id, {self.query: 1}):
                annotations.append({"id": len(annotations) + 1, "iscrowd": 0, **one})
        categories = [{"id": 1, "name": self.query}]
        return {"images": images, "annotations": annotations, "categories": categories}

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each find, with the columns of `Find.to_dict`."""
        import pandas

        return pandas.DataFrame([find.to_dict() for find in self.finds])

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        finds = [find.to_dict() for find in self.finds]
        return {"query": self.query, "folded": self.folded, "finds": finds}


def _detections(finds: Sequence[Find], words: str) -> SegmentedDetections:
    masks = tuple(find.mask for find in finds if find.mask is not None)
    return SegmentedDetections(
        np.stack([find.box for find in finds if find.box is not None]),
        np.array([find.score for find in finds], np.float32),
        (words,) * len(finds),
        finds[0].size_hw,
        masks,
        np.array([find.mask_score for find in finds], np.float32),
        label_indices=np.zeros(len(finds), np.int32),
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _round(number: float | None) -> float | None:
    return None if number is None else round(float(number), JSON_DIGITS)


__all__ = ["NEEDED", "VECTOR", "Find", "Finds"]
