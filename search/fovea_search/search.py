"""Searches a store by words, by pictures, by finds, and by marks on former finds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from fovea_client import Client, InvalidInput, InvalidPrompt, Objects
from fovea_client.images import Picture, encode
from numpy.typing import NDArray

from fovea.boxes import pairwise_iou
from fovea_search import vectors
from fovea_search.errors import InvalidFilter, StoreFailed
from fovea_search.finds import NEEDED, Find, Finds
from fovea_search.records import COLUMNS, OBJECT, PICTURE, VECTOR
from fovea_search.storage import first_line
from fovea_search.store import Store, with_vector
from fovea_search.vectors import Floats

TEMPLATES = ("{}",)
# Words for any picture: a find must be more like the query than like these.
NULL_TEXTS = ("a photo", "a picture", "an image")
ALPHA, BETA, SCENE_WEIGHT = 0.5, 0.5, 0.5
K = 20
# The cosine above which objects and pictures are near-duplicates.
SAME = 0.98
# Rows fetched for each one wanted: some fold away, and scenes change the order.
FETCH, FETCH_WEIGHED, MOST_FETCHED = 2, 50, 20_000
# Boxes of one thing have a larger IoU than this.
SAME_BOX = 0.5
SHORTEST_ID = 6


@dataclass(frozen=True)
class Query:
    """What to look for: at least one of text, image, like, negative, scene, good.

    text: words. image: a picture, or one thing in it, at `box` (xyxy) or `point` (xy) in its
    pixels. like: the id of a find. alpha: weight of the picture beside the text. negative: words
    for what is not wanted, with weight beta. scene: words for the whole picture, with weight
    scene_weight. where: an SQL condition on the store's columns. kind: "object" or "picture".
    k: the most finds. grouped: one find per picture. min_score: the least score. min_margin: how
    much larger the cosine with the query must be than that with NULL_TEXTS. fold: finds count as
    one if their cosine and that of their pictures are above it, or if their boxes in one picture
    overlap; None shows all. templates: such as "a photo of {}"; their vectors are averaged.
    good, bad: ids of finds.
    """

    text: str | None = None
    image: Picture | None = None
    box: Sequence[float] | None = None
    point: Sequence[float] | None = None
    like: str | None = None
    alpha: float = ALPHA
    negative: str | None = None
    beta: float = BETA
    scene: str | None = None
    scene_weight: float = SCENE_WEIGHT
    where: str | None = None
    kind: str = OBJECT
    k: int = K
    grouped: bool = False
    min_score: float | None = None
    min_margin: float | None = None
    fold: float | None = SAME
    templates: Sequence[str] = TEMPLATES
    good: Sequence[str] = ()
    bad: Sequence[str] = ()

    def __post_init__(self) -> None:
        asked = (self.text, self.image, self.like, self.negative, self.scene)
        if all(one is None for one in asked) and not self.good:
            raise InvalidInput("expected a text, an image or a find to look for, got none")
        if (self.box is not None or self.point is not None) and self.image is None:
            raise InvalidInput("expected an image with a box or a point, got none")
        if self.box is not None and self.point is not None:
            raise InvalidInput("expected a box or a point, got both")
        if self.kind not in (OBJECT, PICTURE):
            raise InvalidInput(f"expected {OBJECT!r} or {PICTURE!r}, got {self.kind!r}")
        if self.k < 1:
            raise InvalidInput(f"expected k >= 1, got {self.k}")
        for template in self.templates:
            if "{}" not in template:
                raise InvalidInput(f"expected '{{}}' in a template, got {template!r}")

    @property
    def words(self) -> str:
        """The query in words, for captions."""
        example = self.image is not None or self.like is not None
        parts = (
            self.text or ("like the example" if example else None),
            self.negative and f"not {self.negative}",
            self.scene and f"scene: {self.scene}",
        )
        return ", ".join(part for part in parts if part) or "like the marks"


class Index:
    """A store to search, with the server that embeds queries; safe to share between threads.

    >>> with Index.open("./index") as index:
    ...     for find in index.search(text="a red car", where="folder = 'night'"):
    ...         print(find.score, find.path, find.box)
    """

    def __init__(self, store: Store, client: Any) -> None:
        self.store, self._client = store, client
        self._texts: dict[str, Floats] = {}
        self._checked: set[str] = set()

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, client: Any = None) -> Index:
        """The index of the store at a folder or a URI; raises InvalidStore.

        client: embeds queries; by default a `Client` of localhost:8001.
        """
        return cls(Store.open(path), Client() if client is None else client)

    def search(self, text: str | None = None, **options: Any) -> Finds:
        """The best finds for a `Query` with these fields.

        Raises InvalidInput and its kinds (InvalidFilter, OtherMembers), and the client's errors.
        """
        return self.find(Query(text, **options))

    def find(self, query: Query) -> Finds:
        """The best finds, each with its score."""
        vector = self._vector(query)
        scene = self._text(query.scene, query.templates) if query.scene is not None else None
        if vector is None:  # a scene alone: finds like it, in pictures like it
            assert scene is not None  # `Query` refuses empty ones
            vector = scene
        limit = query.k * (FETCH if scene is None else FETCH_WEIGHED)
        limit = max(query.k, min(limit, MOST_FETCHED))
        while True:
            rows = self._nearest(vector, query, limit)
            kept, folded = self._rank(rows, scene, query)
            if len(kept) >= query.k or rows.num_rows < limit or limit >= MOST_FETCHED:
                return Finds(tuple(kept), query.words, folded)
            limit = min(4 * limit, MOST_FETCHED)

    def _vector(self, query: Query) -> Floats | None:
        """The query's vector without the scene; None if there is only a scene."""
        text = None if query.text is None else self._text(query.text, query.templates)
        negative = None if query.negative is None else self._text(query.negative, query.templates)
        image = self._vectors([query.like])[0] if query.like else self._image(query)
        vector = None
        if text is not None or image is not None or negative is not None:
            vector = vectors.combine(text, image, negative, query.alpha, query.beta)
        if query.good or query.bad:
            good, bad = self._vectors(query.good), self._vectors(query.bad)
            vector = vectors.learn(vector, good, bad)
        return vector

    def _text(self, words: str, templates: Sequence[str]) -> Floats:
        asked = [template.replace("{}", words) for template in templates]
        for one in asked:
            if one not in self._texts:
                self._texts[one] = self._checked_vector(self._client.embed_text(one), "embed_text")
        return vectors.mean([self._texts[one] for one in asked])

    def _image(self, query: Query) -> Floats | None:
        if query.image is None:
            return None
        if query.box is None and query.point is None:
            return self._checked_vector(self._client.embed_image(query.image), "embed_image")
        made_by = self.store.made_by
        data = encode(query.image)
        found = self._client.embed_objects(data, verb=made_by.verb, **made_by.settings)
        index = _fitting(found, query.box, query.point)
        return self._checked_vector(found.embeddings[index], made_by.verb)

    def _checked_vector(self, vector: Floats, verb: str) -> Floats:
        """The vector; raises OtherMembers unless the store's embedder made it."""
        made_by = self.store.made_by
        if verb not in self._checked:
            fingerprint = self._client.describe(verb).fingerprints.get("embeds", "")
            made_by.check_embedder(fingerprint, len(vector))
            self._checked.add(verb)
        return vector

    def _vectors(self, ids: Sequence[str | None]) -> Floats:
        """Vectors of finds, by their ids or the beginnings of ids; raises InvalidInput."""
        found = [self._row(str(id)) for id in ids]
        return np.array(found, np.float32).reshape(len(found), self.store.made_by.dimensions)

    def _row(self, id: str) -> list[float]:
        content, _, number = id.partition(":")
        if len(content) < SHORTEST_ID or not f"{content}{number}".isalnum():
            raise InvalidInput(f"expected the id of a find such as 3f2a91c04b7e:0, got {id!r}")
        like = f"{content}%:{number}" if number else f"{content}%"
        kind = OBJECT if number else PICTURE
        condition = f"{with_vector(kind)} AND id LIKE '{like}'"
        rows = [
            row for batch in self.store.read(["id", VECTOR], condition) for row in batch.to_pylist()
        ]
        if len(rows) != 1:
            raise InvalidInput(f"expected the id of one find, {id!r} is that of {len(rows)}")
        vector: list[float] = rows[0][VECTOR]
        return vector

    def _nearest(self, vector: Floats, query: Query, limit: int) -> pa.Table:
        own = [name for name in self.store.columns if name not in (*COLUMNS, VECTOR)]
        names = [*NEEDED, *own, VECTOR]
        _check_brackets(query.where or "")
        with _filter_errors(query.where):
            return self.store.nearest(vector, query.kind, query.where, names, limit)

    def _rank(self, rows: pa.Table, scene: Floats | None, query: Query) -> tuple[list[Find], int]:
        """The k best finds among rows, and how many were folded before the last of them."""
        scores = 1 - rows.column("_distance").to_numpy()
        pictures = np.array(rows.column("picture").to_pylist(), np.str_)
        whole = self._picture_vectors(pictures) if scene is not None or query.fold else None
        if scene is not None and whole is not None:
            scores = scores + query.scene_weight * (whole @ scene)
        order = np.argsort(-scores, kind="stable")
        if query.min_score is not None:
            order = order[scores[order] >= query.min_score]
        if query.min_margin is not None:
            order = order[self._margins(rows)[order] >= query.min_margin]
        if query.grouped:
            order = order[np.sort(np.unique(pictures[order], return_index=True)[1])]
        folded = 0
        if query.fold is not None and whole is not None:
            order, folded = _fold(rows, whole, order, query.fold, query.k)
        data = rows.drop_columns([VECTOR]).take(order[: query.k]).to_pylist()
        pairs = zip(data, scores[order[: query.k]].tolist(), strict=True)
        return [Find.from_row(row, score) for row, score in pairs], folded

    def _margins(self, rows: pa.Table) -> Floats:
        """How much nearer each row is to the query than to NULL_TEXTS, float32 [N]."""
        null = self._text("", NULL_TEXTS)
        margins: Floats = 1 - rows.column("_distance").to_numpy() - _unit_vectors(rows) @ null
        return margins

    def _picture_vectors(self, pictures: NDArray[np.str_]) -> Floats:
        """The vector of each row's whole picture, float32 [N, D]."""
        distinct, places = np.unique(pictures, return_inverse=True)
        found = np.zeros((len(distinct), self.store.made_by.dimensions), np.float32)
        for batch in self.store.pictures(distinct.tolist(), ["picture", VECTOR]):
            for row in batch.to_pylist():
                found[np.searchsorted(distinct, row["picture"])] = row[VECTOR]
        result: Floats = vectors.unit(found)[places]
        return result

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()


def _fold(
    rows: pa.Table, whole: Floats, order: NDArray[np.int64], limit: float, k: int
) -> tuple[NDArray[np.int64], int]:
    """The first k of `order` that show different things, and how many were passed over.

    Two show one thing if the cosines of their vectors and of their pictures' (`whole` [N, D]) are
    above `limit`; or if they are in one picture and their boxes' IoU is above SAME_BOX, because
    SAM returns a thing with and without what it touches.
    """
    unit = _unit_vectors(rows)[order]
    pictures = np.array(rows.column("picture").take(order).to_pylist(), np.str_)
    boxes = np.array([box or [0.0] * 4 for box in rows.column("box").take(order).to_pylist()])
    around, kept, index = whole[order], list[int](), -1
    for index in range(len(order)):
        beside = [one for one in kept if pictures[one] == pictures[index]]
        cosines = np.minimum(unit[kept] @ unit[index], around[kept] @ around[index])
        alike = bool(kept) and float(cosines.max()) > limit
        over = pairwise_iou(boxes[index : index + 1], boxes[beside]) if beside else np.zeros(1)
        if not alike and over.max() <= SAME_BOX:
            kept.append(index)
        if len(kept) == k:
            break
    return order[kept], index + 1 - len(kept)


def _unit_vectors(rows: pa.Table) -> Floats:
    """Unit-length vectors of the rows, float32 [N, D]."""
    found = rows.column(VECTOR).combine_chunks()
    return vectors.unit(found.flatten().to_numpy().reshape(len(found), found.type.list_size))


def _fitting(found: Objects, box: Sequence[float] | None, point: Sequence[float] | None) -> int:
    """The object that fits a box best, or the smallest at a point; raises InvalidPrompt."""
    if point is not None:
        column, row = (int(value) for value in point)
        height, width = found.size_hw
        if not (0 <= column < width and 0 <= row < height):
            raise InvalidPrompt(f"expected a point within {width}x{height}, got {list(point)}")
        on = [i for i, mask in enumerate(found.masks) if mask.to_numpy()[row, column]]
        if not on:
            raise InvalidPrompt(f"expected a point on an object, there is none at {list(point)}")
        return min(on, key=lambda i: found.masks[i].area)
    overlaps = pairwise_iou(np.asarray([box], np.float32), found.boxes)[0]
    if not len(overlaps) or overlaps.max() < SAME_BOX:
        best = f"{overlaps.max():.2f}" if len(overlaps) else "none"
        raise InvalidPrompt(
            f"expected a box around an object (IoU > {SAME_BOX}), the best of "
            f"{len(found)} has {best}"
        )
    return int(overlaps.argmax())


def _check_brackets(where: str) -> None:
    """Raises InvalidFilter if a bracket could close the one that the store puts around `where`."""
    depth = 0
    for bracket in re.findall(r"[()]", re.sub(r"'[^']*'|\"[^\"]*\"", "", where)):
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            break
    if depth != 0:
        raise InvalidFilter(f"--where {where!r}: expected brackets in pairs")


@contextmanager
def _filter_errors(where: str | None) -> Iterator[None]:
    try:
        yield
    except (StoreFailed, ValueError, RuntimeError, OSError) as error:
        if where is None or isinstance(error, InvalidInput):
            raise
        cause = error.__cause__ or error
        reason = first_line(cause).removeprefix("Invalid user input: ").split(", _rowid")[0]
        raise InvalidFilter(f"--where {where!r}: {reason}") from error
