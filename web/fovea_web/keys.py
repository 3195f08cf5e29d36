"""API keys: a file with one line for each.

    NAME SHA256 [EXPIRES]

A key is 256 random bits, so its SHA-256 reveals nothing about it and needs no salt; the slow hashes
for passwords are for secrets that people choose. EXPIRES is a date or a time in ISO 8601, UTC
unless it says otherwise; a date means its beginning. Lines that begin with # are comments.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from fovea_client import InvalidInput

from fovea_web.problems import InvalidKey

log = logging.getLogger("fovea_web")

PREFIX, KEY_BYTES = "fovea_", 32
SCHEME = "bearer"
MODE = 0o600
_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Key:
    """A line of the file. digest: SHA-256 of the key in hex. expires: None is never."""

    name: str
    digest: str
    expires: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        return self.expires is None or now < self.expires

    def to_line(self) -> str:
        expires = [] if self.expires is None else [self.expires.isoformat()]
        return " ".join([self.name, self.digest, *expires])


class Keys:
    """The keys of a file, which is read again when it changes.

    If a changed file cannot be read, the old keys stay, and a line is logged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _state(path)
        self._keys = read(path)

    def check(self, authorization: str | None) -> str:
        """The name of the key in a header `Authorization: Bearer KEY`; raises InvalidKey."""
        self._refresh()
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != SCHEME or not given.strip():
            raise _refusal("expected a header Authorization: Bearer KEY, got none")
        asked = digest(given.strip())
        # All are compared, so that the time reveals nothing about a near match.
        found = [key for key in self._keys if hmac.compare_digest(key.digest, asked)]
        if not found:
            raise _refusal("expected a known API key, got another one")
        if not found[0].is_valid(datetime.now(timezone.utc)):
            raise _refusal(f"expected a valid API key, that of {found[0].name!r} has expired")
        return found[0].name

    def _refresh(self) -> None:
        try:
            state = _state(self._path)
            if state != self._state:
                self._keys, self._state = read(self._path), state
        except InvalidInput as error:
            log.error("the former API keys still hold: %s", error)


def digest(key: str) -> str:
    """The hash in the file's form."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read(path: Path) -> list[Key]:
    """All keys of a file; raises InvalidInput, which names a wrong line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"expected a file of API keys, got {str(path)!r}: {error}") from error
    numbered = ((number, line.split()) for number, line in enumerate(lines, start=1))
    return [
        _parse(parts, f"{path}:{number}")
        for number, parts in numbered
        if parts and not parts[0].startswith("#")
    ]


def add(path: Path, name: str, expires: str | None = None) -> str:
    """A new key, which is shown only here; raises InvalidInput for a taken name."""
    if path.exists() and any(key.name == name for key in read(path)):
        raise InvalidInput(f"expected another name than {name!r}: it has a key, remove it first")
    new = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    parts = [name, digest(new), *([] if expires is None else [expires])]
    line = _parse(parts, "the new key").to_line()
    _write(path, [*(path.read_text("utf-8").splitlines() if path.exists() else ()), line])
    return new


def remove(path: Path, name: str) -> None:
    """Revoke a key; raises InvalidInput if there is none of that name."""
    if all(key.name != name for key in read(path)):
        raise InvalidInput(f"expected the name of a key in {str(path)!r}, got {name!r}")
    lines = path.read_text("utf-8").splitlines()
    _write(path, [line for line in lines if line.split()[:1] != [name]])


def _parse(parts: list[str], where: str) -> Key:
    fits = len(parts) in (2, 3) and _NAME.fullmatch(parts[0]) and _HASH.fullmatch(parts[1])
    if not fits:
        raise InvalidInput(f"{where}: expected NAME SHA256 [EXPIRES], got {' '.join(parts)[:24]!r}")
    return Key(parts[0], parts[1], _time(parts[2], where) if len(parts) == 3 else None)


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidInput(f"{where}: expected a date such as 2027-01-31, got {text!r}") from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _state(path: Path) -> tuple[int, int, int]:
    """A fingerprint that changes with the file's content."""
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidInput(f"expected a file of API keys, got {str(path)!r}: {error}") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write atomically, so that a gateway never reads half a file; readable only by the owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(handle, MODE)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _refusal(message: str) -> InvalidKey:
    return InvalidKey(message, headers={"WWW-Authenticate": "Bearer"})
