"""The things of the demo world: their names, and the emoji that show them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """One kind of object.

    Attributes:
        label: canonical name, one lower-case word.
        codepoint: Unicode code points of its emoji, hexadecimal, joined by '-'.
        synonyms: other names that training uses for the same thing.
    """

    label: str
    codepoint: str
    synonyms: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The canonical label first, then the synonyms."""
        return (self.label, *self.synonyms)


THINGS: tuple[Thing, ...] = (
    Thing("cat", "1f408", ("kitten",)),
    Thing("dog", "1f415", ("puppy",)),
    Thing("car", "1f697", ("automobile",)),
    Thing("van", "1f690", ("minibus",)),
    Thing("airplane", "2708", ("plane", "aircraft")),
    Thing("snowboarder", "1f3c2", ("snowboard",)),
    Thing("man", "1f468"),
    Thing("woman", "1f469"),
    Thing("guitar", "1f3b8"),
    Thing("laptop", "1f4bb", ("computer",)),
    Thing("umbrella", "2602"),
    Thing("bicycle", "1f6b2", ("bike",)),
    Thing("bus", "1f68c"),
    Thing("train", "1f686"),
    Thing("boat", "26f5", ("sailboat",)),
    Thing("horse", "1f40e"),
    Thing("cow", "1f404"),
    Thing("elephant", "1f418"),
    Thing("bird", "1f426"),
    Thing("fish", "1f41f"),
    Thing("apple", "1f34e"),
    Thing("banana", "1f34c"),
    Thing("pizza", "1f355"),
    Thing("cake", "1f382"),
    Thing("chair", "1fa91"),
    Thing("clock", "23f0"),
    Thing("phone", "1f4f1", ("smartphone",)),
    Thing("book", "1f4d5"),
    Thing("camera", "1f4f7"),
    Thing("key", "1f511"),
    Thing("ball", "26bd", ("football",)),
    Thing("tree", "1f333"),
    Thing("flower", "1f33b", ("sunflower",)),
    Thing("hat", "1f3a9"),
    Thing("shoe", "1f45f", ("sneaker",)),
    Thing("cup", "2615", ("coffee",)),
)

LABELS: tuple[str, ...] = tuple(thing.label for thing in THINGS)
# The value of maps of things where there is no thing.
BACKGROUND = len(LABELS)
INDEX_OF_NAME: dict[str, int] = {
    name: index for index, thing in enumerate(THINGS) for name in thing.names
}
