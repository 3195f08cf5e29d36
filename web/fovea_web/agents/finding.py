"""Object search as a tool: queries a store of `fovea index` by words or by example."""

from __future__ import annotations

from typing import Any

from fovea_search import Find, Finds, Index, sheet
from fovea_search.records import COLUMNS, VECTOR

from fovea_web.agents import arguments, replies
from fovea_web.agents.pictures import Folders
from fovea_web.agents.tools import Reply, Tool, picture_arguments, picture_of

K = 10
AREA_DIGITS = 4
# Of the 64 of a picture's hash: enough to identify a find, with far fewer tokens.
ID_CHARS = 12
GIVEN = (
    "text", "box", "point", "like", "negative", "scene", "where", "kind", "grouped", "k", "good",
    "bad", "annotated", "masks",
)  # fmt: skip
# Columns for a condition, besides the store's own.
CONDITIONS = ("path", "folder", "taken", "width", "height", "area")


def tool(index: Index, folders: Folders | None) -> Tool:
    """The tool `search`; it only reads and draws the store's own pictures."""

    def call(given: dict[str, Any]) -> Reply:
        annotated, masks = given.pop("annotated", False), given.pop("masks", False)
        image = picture_of(given, folders)
        finds = index.search(image=image, **{"k": K, **given})
        jpeg = replies.encode_jpeg(sheet.draw(finds)) if annotated and len(finds) else None
        return Reply(_to_record(finds, masks=masks), jpeg)

    own = [name for name in index.store.columns if name not in (*COLUMNS, VECTOR)]
    return Tool(
        "search",
        "Search the indexed pictures",
        "Finds objects, or whole pictures, in an index of many pictures: by text, by an example "
        "picture (with a box or a point for one thing in it), by the id of an earlier result, or "
        "by several of these together. Scores are similarities: compare them within one answer "
        "only. "
        f"Columns for where: {', '.join((*CONDITIONS, *own))}; area is a share of the picture.",
        arguments.model_of("search", (*picture_arguments(folders), *GIVEN)),
        call,
    )


def _to_record(finds: Finds, *, masks: bool) -> dict[str, Any]:
    return {"count": len(finds), "finds": [_find(find, masks=masks) for find in finds]}


def _find(find: Find, *, masks: bool) -> dict[str, Any]:
    content, mark, number = find.id.partition(":")
    told: dict[str, Any] = {
        "id": f"{content[:ID_CHARS]}{mark}{number}",
        "score": round(find.score, replies.SCORE_DIGITS),
        "path": find.path,
    }
    if find.box is not None and find.mask is not None and find.area is not None:
        told |= {"box": replies.to_box(find.box), "area": round(find.area, AREA_DIGITS)}
        if masks:
            told["mask"] = find.mask.to_coco()
    columns = find.to_dict()
    return told | {name: columns[name] for name in find.columns if columns[name] is not None}
