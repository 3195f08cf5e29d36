"""Many pictures: folders, bounded concurrency, and one outcome for each picture."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Sized,
)
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar, Union

from fovea_client.errors import FoveaError, InvalidImage, InvalidInput
from fovea_client.images import Picture

T = TypeVar("T")
Pictures: TypeAlias = Union[str, "os.PathLike[str]", Iterable[Picture]]
Progress: TypeAlias = Callable[[int, "int | None"], None]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
DEFAULT_CONCURRENCY = 8
# In input order, a slow picture holds back the answers behind it: this many wait per worker.
WINDOW_PER_WORKER = 2


@dataclass(frozen=True, eq=False)
class Outcome(Generic[T]):
    """The outcome of one picture: a result or a typed error.

    index: its position in the input. source: the picture as given.
    """

    index: int
    source: Picture
    result: T | None
    error: FoveaError | None

    def unwrap(self) -> T:
        """The result; raises the error if there is none."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # None is then the result itself


def pictures_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Pictures below a folder, sorted by path, without hidden ones; InvalidImage for no folder."""
    root = Path(folder)
    if not root.is_dir():
        raise InvalidImage(f"expected a folder, got {str(root)!r}")
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def expand(pictures: Pictures) -> tuple[Iterable[Picture], int | None]:
    """The pictures of a folder, a file or an iterable, and their number if known.

    Reads nothing from the iterable.
    """
    if isinstance(pictures, (str, os.PathLike)):
        found = pictures_in(pictures) if Path(pictures).is_dir() else [Path(pictures)]
        return found, len(found)
    if isinstance(pictures, (bytes, bytearray, memoryview)):
        raise InvalidInput("expected many pictures, got the bytes of one")
    return pictures, len(pictures) if isinstance(pictures, Sized) else None


def map_pictures(
    call: Callable[[Picture], T],
    pictures: Pictures,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    ordered: bool = True,
    progress: Progress | None = None,
) -> Generator[Outcome[T], None, None]:
    """`call` for each picture in `concurrency` threads; outcomes in input order, or as they come.

    The input is read as slots get free. progress(done, total) is called before each outcome.
    """
    source, total = expand(pictures)
    _check_concurrency(concurrency)
    return _count(_map(call, source, concurrency, ordered=ordered), total, progress)


def amap_pictures(
    call: Callable[[Picture], Awaitable[T]],
    pictures: Pictures,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    ordered: bool = True,
    progress: Progress | None = None,
) -> AsyncGenerator[Outcome[T], None]:
    """`map_pictures` with tasks; closing the iterator cancels the running ones."""
    source, total = expand(pictures)
    _check_concurrency(concurrency)
    return _acount(_amap(call, source, concurrency, ordered=ordered), total, progress)


def _check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise InvalidInput(f"expected concurrency >= 1, got {concurrency}")


def _count(
    outcomes: Generator[Outcome[T], None, None], total: int | None, progress: Progress | None
) -> Generator[Outcome[T], None, None]:
    with closing(outcomes):
        for done, outcome in enumerate(outcomes, start=1):
            if progress is not None:
                progress(done, total)
            yield outcome


async def _acount(
    outcomes: AsyncGenerator[Outcome[T], None], total: int | None, progress: Progress | None
) -> AsyncGenerator[Outcome[T], None]:
    done = 0
    async with aclosing(outcomes):
        async for outcome in outcomes:
            done += 1
            if progress is not None:
                progress(done, total)
            yield outcome


def _map(
    call: Callable[[Picture], T], source: Iterable[Picture], concurrency: int, *, ordered: bool
) -> Generator[Outcome[T], None, None]:
    def outcome(index: int, picture: Picture) -> Outcome[T]:
        try:
            return Outcome(index, picture, call(picture), None)
        except FoveaError as error:
            return Outcome(index, picture, None, error)

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="fovea")
    try:
        pending: deque[Future[Outcome[T]]] = deque()
        window = concurrency * WINDOW_PER_WORKER if ordered else concurrency
        for index, picture in enumerate(source):
            pending.append(pool.submit(outcome, index, picture))
            while len(pending) >= window or _is_next_done(pending, ordered=ordered):
                yield _next_done(pending, ordered=ordered).result()
        while pending:
            yield _next_done(pending, ordered=ordered).result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _is_next_done(
    pending: Iterable[Future[Outcome[T]] | asyncio.Task[Outcome[T]]], *, ordered: bool
) -> bool:
    return any(one.done() for one in itertools.islice(pending, 1 if ordered else None))


def _next_done(pending: deque[Future[Outcome[T]]], *, ordered: bool) -> Future[Outcome[T]]:
    if ordered:
        return pending.popleft()
    done = next(iter(wait(pending, return_when=FIRST_COMPLETED).done))
    pending.remove(done)
    return done


async def _amap(
    call: Callable[[Picture], Awaitable[T]],
    source: Iterable[Picture],
    concurrency: int,
    *,
    ordered: bool,
) -> AsyncGenerator[Outcome[T], None]:
    slots = asyncio.Semaphore(concurrency)

    async def outcome(index: int, picture: Picture) -> Outcome[T]:
        async with slots:
            try:
                return Outcome(index, picture, await call(picture), None)
            except FoveaError as error:
                return Outcome(index, picture, None, error)

    pending: deque[asyncio.Task[Outcome[T]]] = deque()
    try:
        window = concurrency * WINDOW_PER_WORKER if ordered else concurrency
        for index, picture in enumerate(source):
            pending.append(asyncio.create_task(outcome(index, picture)))
            while len(pending) >= window or _is_next_done(pending, ordered=ordered):
                yield await _anext_done(pending, ordered=ordered)
        while pending:
            yield await _anext_done(pending, ordered=ordered)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _anext_done(pending: deque[asyncio.Task[Outcome[T]]], *, ordered: bool) -> Outcome[T]:
    if ordered:
        done = pending[0]
        await asyncio.wait([done])
    else:
        finished, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done = next(iter(finished))
    pending.remove(done)
    return done.result()
