"""A deployment: which checkpoints are served, under which names, and what they do together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fovea.limits import Limits
from fovea.members import NAME, Member
from fovea.placement import Placement
from fovea.roles import Role
from fovea.specs import Queue
from fovea.verbs import InvalidDeployment, Verb, check_members


@dataclass(frozen=True)
class BatchSizes:
    """The largest batch of the steps, of one request to an ensemble, and of each network.

    The server batches requests of one picture each. Only answers of a fixed shape, which embeddings
    are, can be batched by the caller as well. networks: overrides a family's own.
    """

    steps: int = 16
    embeddings: int = 8
    objects: int = 1
    networks: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Queues:
    """How long requests wait. Only the first step refuses; those behind it have room to spare.

    entry: before the first step; its timeout is also how long a request may wait for one of the
    models behind it, unless the caller sets another. backlog: how many may wait for one of those.
    Beyond either, the first step accepts no more (see `fovea.backlog`). inner: the queues behind
    the first step.

    So every accepted request is answered, and no work is wasted. There is a harder reason: Triton
    2.51 answers twice, and crashes, if a step of an ensemble fails while another one of the same
    request runs. Hence one first step that checks everything, and patient queues behind it.

    The inner queues have no limit at all, of size or time: with any, Triton 2.51 hands a batcher
    no work ahead, and may overlook a request for half a second if it comes while the instance
    finishes another (`tests/serving/test_batching.py`). `backlog` bounds them instead.
    """

    entry: Queue = field(default_factory=lambda: Queue(max_size=128, timeout_us=30_000_000))
    backlog: int = 128
    inner: Queue = field(default_factory=Queue)


DECODE_MARGIN = 2.0
EMBEDDING_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Deployment:
    """Everything that the members and the machine fix; raises InvalidDeployment.

    decode_margin: a JPEG may be decoded at 1/2, 1/4 or 1/8 while it stays this many times as
    large as every network needs it: a fifth of the time for large photos, and the same answers
    (docs/performance.md). 0 decodes all in full, and pixels are the checkpoint's own.
    embedding_cache_bytes: each promptable member's memory for embeddings of pictures that may be
    asked about again.
    """

    members: tuple[Member, ...]
    verbs: tuple[Verb, ...]
    limits: Limits = field(default_factory=Limits)
    batch_sizes: BatchSizes = field(default_factory=BatchSizes)
    queues: Queues = field(default_factory=Queues)
    placements: tuple[Placement, ...] = ()
    decode_margin: float = DECODE_MARGIN
    embedding_cache_bytes: int = EMBEDDING_CACHE_BYTES

    def __post_init__(self) -> None:
        check_names([*(m.name for m in self.members), *(verb.name for verb in self.verbs)])
        roles = {member.name: member.play().ROLE for member in self.members}
        check_members(self.verbs, roles)

    def member(self, name: str) -> Member:
        """The member of this name; raises KeyError."""
        return {member.name: member for member in self.members}[name]

    def play(self, name: str) -> Role[Any]:
        """The member of this name in its role."""
        return self.member(name).play()


def check_names(names: Iterable[str]) -> None:
    """Raise InvalidDeployment for a duplicate name, or one that Triton does not allow."""
    seen: set[str] = set()
    for name in names:
        if not NAME.fullmatch(name):
            raise InvalidDeployment(
                f"expected a name of lower-case letters, digits and _, got {name!r}"
            )
        if name in seen:
            raise InvalidDeployment(f"the name {name!r} is there twice")
        seen.add(name)
