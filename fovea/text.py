"""Labels and texts from callers: decoded, checked, and split if one string holds many.

A label is one element of TEXT, whatever its characters: "St. Bernard" is one label. Answers carry
its index and the label itself, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fovea.errors import InvalidText
from fovea.limits import Limits

_EDGE_PUNCTUATION = " \t\r\n!?.,;:\"'"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_SHOWN = 40


def decode_text(raw: bytes, limits: Limits) -> str:
    """The UTF-8 bytes of one text; InvalidText if it is too long, not UTF-8, or not for reading."""
    if len(raw) > 4 * limits.text_chars:
        raise InvalidText(f"expected at most {limits.text_chars} characters, got {len(raw)} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidText(f"expected UTF-8 text, got {raw[:20]!r}") from error
    if len(text) > limits.text_chars:
        raise InvalidText(
            f"expected at most {limits.text_chars} characters, got {len(text)} characters"
        )
    control = _CONTROL.search(text)
    if control is not None:
        raise InvalidText(f"expected text without control characters, got {control[0]!r}")
    return text


def decode_labels(raw: Iterable[bytes], limits: Limits) -> list[str]:
    """The elements of TEXT as str, in the order given; InvalidText names a wrong one."""
    encoded = list(raw)
    if not encoded:
        raise InvalidText("expected at least one label, got none")
    if len(encoded) > limits.labels:
        raise InvalidText(f"expected at most {limits.labels} labels, got {len(encoded)}")
    size = sum(map(len, encoded))
    if size > limits.labels_bytes:
        raise InvalidText(f"expected labels of at most {limits.labels_bytes} bytes, got {size}")
    labels = []
    for index, element in enumerate(encoded):
        try:
            label = decode_text(element, limits)
        except InvalidText as error:
            raise InvalidText(f"label {index}: {error}") from error
        if not bare(label):
            raise InvalidText(f"{name_label(index, label)}: expected words, got none")
        labels.append(label)
    return labels


def split_phrases(text: str, limits: Limits | None = None) -> list[str]:
    """Phrases of "a cat. a dog.", each once and as written, in the order given.

    For people who type one string: '.' separates phrases, so no phrase contains one. Raises
    InvalidText for no phrase, or more than `limits.labels`.
    """
    phrases = list(dict.fromkeys(part.strip() for part in text.split(".") if part.strip()))
    if not phrases:
        raise InvalidText(f"expected at least one phrase such as 'cat. dog.', got {text[:40]!r}")
    if limits is not None and len(phrases) > limits.labels:
        raise InvalidText(f"expected at most {limits.labels} phrases, got {len(phrases)}")
    return phrases


def name_label(index: int, label: str) -> str:
    """A label's name in messages."""
    shown = label if len(label) <= _SHOWN else label[:_SHOWN] + "…"
    return f"label {index} {shown!r}"


def same_words(label: str) -> str:
    """A key that equal labels share: lower case, one space between words."""
    return " ".join(label.lower().split())


def surely_fits(label: str, tokens: int) -> bool:
    """Whether a label has words and surely fits into `tokens` tokens, without tokenizing it.

    No tokenizer makes more tokens of ASCII than it has characters. That checks a list of 1,203
    labels in a fraction of the time that tokenizing takes.
    """
    return label.isascii() and len(label) <= tokens and any(map(str.isalnum, label))


def bare(label: str) -> str:
    """The label without spaces and punctuation around it."""
    return label.strip(_EDGE_PUNCTUATION)


def caption_form(label: str) -> str:
    """A label's form in a caption: in lower case, without the two characters that separate phrases.

    Characters keep their places, so that spans within it are spans within the label.
    """
    return re.sub(r"[.?]", " ", "".join(_lower(character) for character in label))


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character
