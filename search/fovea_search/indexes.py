"""The indexes of a store: one for its vectors, and one for each column that every query uses.

Lance's own upkeep of a vector index joins partitions with fewer than about 2,000 rows: a thousand
partitions become forty, and each query compares a third of all rows. Here new rows get their own
segment with the same partitions, and merges leave out the first segment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from fovea_search.records import VECTOR

# With fewer rows an exact scan is as fast as an index. Partitions have about PARTITION_ROWS rows.
INDEXED_ROWS, PARTITION_ROWS = 50_000, 1_000
# An index is rebuilt once its partitions have grown by this factor.
GROWTH = 2.0
# A query searches every segment, so later segments are merged once there are this many.
SEGMENTS = 8
METRIC = "cosine"
# The least partitions that a query searches, and candidates compared in full for each row wanted.
# Measured with `python -m benchmarks.search --only vectors`.
PROBES, REFINE = 50, 2
# Below this share of all rows, those that pass a filter lie in partitions further away: a query
# then searches PROBES ** (1 - e) * P ** e of P partitions, where e = 1 - EASE * share ** 0.3.
SHARE, EASE = 0.5, 0.45
# If a condition leaves no more rows than this, all partitions are searched.
FEW_ROWS = 2_000

# By default Lance reads all centroids to count partitions, and logs a warning about it.
os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")


def partitions(data: Any) -> int:
    """Returns how many partitions a dataset's vector index has; 0 without an index."""
    statistics = _statistics(data)
    return int(statistics["indices"][0]["num_partitions"]) if statistics else 0


def covered(data: Any) -> set[int]:
    """The ids of the fragments whose vectors a dataset's index holds."""
    indexes = (one for one in data.describe_indices() if VECTOR in one.field_names)
    return {id for one in indexes for segment in one.segments for id in segment.fragment_ids}


def effort(rows: int, of: int) -> dict[str, Any]:
    """Returns Lance's options for a query whose condition `rows` of all rows pass.

    If these partitions hold fewer rows than wanted, Lance goes on to the others.
    """
    share = rows / max(1, of)
    chosen = None if share >= SHARE else 1 - EASE * share**0.3
    if rows <= FEW_ROWS:
        chosen = 1.0
    return {"minimum_nprobes": PROBES, "search_effort": chosen, "refine_factor": REFINE}


def keep_up(data: Any, rows: int, indexed_rows: int, columns: Iterable[str]) -> None:
    """Builds a dataset's indexes, or adds new rows to them.

    rows: number of rows with a vector. indexed_rows: the least number of rows for an index.
    columns: those that get an index too.
    """
    if rows >= indexed_rows and rows > GROWTH * PARTITION_ROWS * partitions(data):
        _build(data, max(1, rows // PARTITION_ROWS))
        for column in columns:
            kind = "BITMAP" if column == "kind" else "BTREE"
            data.create_scalar_index(column, kind, replace=True)
    elif statistics := _statistics(data):
        others = [one.name for one in data.describe_indices() if VECTOR not in one.field_names]
        data.optimize.optimize_indices(index_names=others)
        if statistics["num_unindexed_rows"]:
            later = len(statistics["indices"]) - 1
            merged = later if later >= SEGMENTS else 0
            data.optimize.optimize_indices(
                index_names=[statistics["name"]], num_indices_to_merge=merged
            )


def _build(data: Any, count: int) -> None:
    data.create_index(VECTOR, "IVF_SQ", metric=METRIC, num_partitions=count, replace=True)


def _statistics(data: Any) -> dict[str, Any] | None:
    """Returns Lance's statistics of the vector index; None without an index."""
    for one in data.describe_indices():
        if VECTOR in one.field_names:
            found: dict[str, Any] = data.stats.index_stats(one.name)
            return found
    return None
