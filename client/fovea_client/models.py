"""Prints what a deployment offers, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from fovea_client.description import Description, MemberDescription

SHOWN_CLASSES = 4


def members_of(verbs: Iterable[Description]) -> list[MemberDescription]:
    """Each member once, by name."""
    found = {member.name: member for verb in verbs for member in verb.members.values()}
    return [found[name] for name in sorted(found)]


def models_record(verbs: tuple[Description, ...]) -> dict[str, Any]:
    """Ready for JSON: {"verbs": [...], "members": [...]}."""
    return {
        "verbs": [verb.to_dict() for verb in verbs],
        "members": [member.to_dict() for member in members_of(verbs)],
    }


def models_tables(verbs: tuple[Description, ...]) -> list[Table]:
    """The verbs with their members, and the facts about each member."""
    asked = Table("verb", "what it does", "members", box=box.SIMPLE_HEAD)
    for verb in verbs:
        played = ", ".join(f"{slot} = {member.name}" for slot, member in verb.members.items())
        asked.add_row(verb.name, verb.verb, Text(played))
    answering = Table("member", "role", "family", "classes", "licence", box=box.SIMPLE_HEAD)
    for member in members_of(verbs):
        licence = member.licence or "–"
        cells = (member.name, member.role, member.family, _classes(member), licence)
        answering.add_row(*(Text(cell) for cell in cells))
    return [asked, answering]


def _classes(member: MemberDescription) -> str:
    names = member.class_names
    if not names:
        return "–"
    more = ", …" if len(names) > SHOWN_CLASSES else ""
    return f"{len(names)}: {', '.join(names[:SHOWN_CLASSES])}{more}"
