"""JSON for the wire."""

from __future__ import annotations

import json
from typing import Any


def dump(value: Any) -> bytes:
    """UTF-8 on one line; what UTF-8 cannot encode, half a surrogate pair, stays an escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
