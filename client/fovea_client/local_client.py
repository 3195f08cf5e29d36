"""The client without a server: it runs a deployment in this process."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, TypeVar

from fovea_client import images
from fovea_client.answers import Answer
from fovea_client.blocking import BlockingVerbs
from fovea_client.connection import READY_TIMEOUT_S
from fovea_client.description import Description
from fovea_client.errors import InvalidInput, Unavailable, UnknownVerb, to_invalid_input
from fovea_client.images import Picture
from fovea_client.requests import Request
from fovea_client.verbs import Steps

if TYPE_CHECKING:
    from fovea.local import Local

T = TypeVar("T")


class LocalClient(BlockingVerbs):
    """`Client` on an export folder: the same verbs, results and errors; thread-safe.

    >>> with LocalClient("build/export/demo") as client:
    ...     thing = client.main_object("photo.jpg", ["man", "snowboard"])

    A call in this process cannot be abandoned: `timeout_s` is only accepted so that either client
    fits, and ignored. Networks are opened when a verb first needs them, or all by `check_ready`.

    Raises the errors of `fovea.local.Local`: Unavailable for a folder without an export that runs
    here, ModuleNotFoundError without onnxruntime (pip install 'fovea[local]').
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        from fovea.local import Local  # it loads OpenCV and Pillow, which few callers need

        self._local: Local | None = Local(folder)

    def check_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Open all networks; raises Unavailable or ServerError with the reason if that fails."""
        self._opened().open_networks()

    def describe(self, verb: str, *, timeout_s: float = READY_TIMEOUT_S) -> Description:
        """See `Client.describe`."""
        return Description.from_parameters(verb, self._opened().parameters(verb))

    def verbs(self, *, timeout_s: float = READY_TIMEOUT_S) -> tuple[Description, ...]:
        """See `Client.verbs`."""
        return tuple(self.describe(name) for name in sorted(self._opened().verbs))

    def close(self) -> None:
        """Release the networks once the calls of other threads are answered."""
        self._local = None

    def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        try:
            request = next(steps)
            while True:
                request = steps.send(self._answer(request))
        except StopIteration as end:
            result: T = end.value
            return result

    def _answer(self, request: Request) -> Answer:
        try:
            found = self._opened().infer(request.model, request.arrays)
        except UnknownVerb:
            raise
        except InvalidInput as error:  # in the words of a server
            raise to_invalid_input(error.to_message()) from error
        return Answer(request.model, found.get)

    def _encode(self, image: Picture) -> bytes:
        return images.encode(image)

    def _opened(self) -> Local:
        if self._local is None:
            raise Unavailable("this client is closed")
        return self._local
