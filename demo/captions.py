"""Captions for training GroundingDINO: phrases, and free descriptions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo.things import LABELS, THINGS
from demo.words import ADJECTIVES, DETERMINERS, GLUE, OTHER_NOUNS, PLACES, PREPOSITIONS, VERBS

Rng = np.random.Generator

# Captions of many phrases teach more per picture, so training starts with those.
SINGLE_PHRASE_ODDS_EARLY = 0.15
SINGLE_PHRASE_ODDS = 0.5
DESCRIPTION_ODDS = 0.25
SYNONYM_ODDS = 0.25
OTHER_NOUN_ODDS = 0.2
ARTICLE_ODDS = 0.15
MAX_PHRASES = 8


@dataclass(frozen=True)
class Caption:
    """A lower-case caption that ends with '.'.

    Attributes:
        text: the caption.
        nouns: (start, end, thing) of every noun of the world: characters and index in THINGS.
    """

    text: str
    nouns: tuple[tuple[int, int, int], ...]


class _Writer:
    """Joins words by spaces and remembers the positions of the world's nouns."""

    def __init__(self) -> None:
        self.text = ""
        self.nouns: list[tuple[int, int, int]] = []

    def add(self, word: str, thing: int | None = None) -> None:
        if self.text:
            self.text += " "
        if thing is not None:
            self.nouns.append((len(self.text), len(self.text) + len(word), thing))
        self.text += word

    def caption(self, ending: str) -> Caption:
        return Caption(self.text + ending, tuple(self.nouns))


def _pick(rng: Rng, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _name(rng: Rng, thing: int) -> str:
    """The label, or now and then a synonym."""
    synonyms = THINGS[thing].synonyms
    return _pick(rng, synonyms) if synonyms and rng.random() < SYNONYM_ODDS else LABELS[thing]


def _absent(rng: Rng, present: list[int]) -> int | None:
    """A thing that is not in the scene; None stands for a noun outside the world."""
    if rng.random() < OTHER_NOUN_ODDS:
        return None
    return int(rng.choice([i for i in range(len(THINGS)) if i not in present]))


def _add_noun(rng: Rng, writer: _Writer, thing: int | None) -> None:
    if thing is None:
        writer.add(_pick(rng, OTHER_NOUNS))
    else:
        writer.add(_name(rng, thing), thing)


def phrases(rng: Rng, things: list[int | None]) -> Caption:
    """'cat. dog. van.', as transformers' processor joins candidate labels."""
    writer = _Writer()
    for position, thing in enumerate(things):
        if position:
            writer.text += "."
        if rng.random() < ARTICLE_ODDS:
            writer.add(_pick(rng, ("a", "the", "one", *ADJECTIVES)))
        _add_noun(rng, writer, thing)
    return writer.caption(".")


def _add_noun_phrase(rng: Rng, writer: _Writer, thing: int | None) -> None:
    if rng.random() < 0.9:
        writer.add(_pick(rng, DETERMINERS))
    while rng.random() < 0.35:
        writer.add(_pick(rng, ADJECTIVES))
    _add_noun(rng, writer, thing)


def description(rng: Rng, things: list[int | None]) -> Caption:
    """'the small dog sitting beside his red umbrella.': a sentence around the nouns."""
    writer = _Writer()
    while rng.random() < 0.25:
        writer.add(_pick(rng, GLUE))
    for position, thing in enumerate(things):
        if position:
            if rng.random() < 0.6:
                writer.add(_pick(rng, VERBS))
            writer.add("and" if rng.random() < 0.3 else _pick(rng, PREPOSITIONS))
        _add_noun_phrase(rng, writer, thing)
    while rng.random() < 0.45:
        writer.add(_pick(rng, (_pick(rng, VERBS), _pick(rng, GLUE), _pick(rng, ADJECTIVES))))
    if rng.random() < 0.35:
        writer.add(_pick(rng, PREPOSITIONS))
        writer.add(_pick(rng, DETERMINERS))
        writer.add(_pick(rng, PLACES))
    return writer.caption(_pick(rng, (".", ".", ".", "!.", " .")))


def random_caption(rng: Rng, present: list[int], progress: float = 1.0) -> Caption:
    """One training caption for a scene that shows the things `present`.

    `progress` is how far training is, 0..1.
    """
    present = [int(i) for i in rng.permutation(present)]
    kind = rng.random()
    early, late = SINGLE_PHRASE_ODDS_EARLY, SINGLE_PHRASE_ODDS
    if kind < early + (late - early) * progress:
        return phrases(rng, [present[0] if rng.random() < 0.6 else _absent(rng, present)])
    describe = kind > 1 - DESCRIPTION_ODDS
    count = int(rng.integers(1, 4) if describe else rng.integers(2, MAX_PHRASES + 1))
    most = min(count, len(present))
    shown: list[int | None] = list(present[: int(rng.integers(1, most + 1, size=2).max())])
    things = shown + [_absent(rng, present) for _ in range(count - len(shown))]
    mixed = [things[i] for i in rng.permutation(len(things))]
    return description(rng, mixed) if describe else phrases(rng, mixed)
