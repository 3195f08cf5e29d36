"""Members of any family can replace each other in every verb."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from fovea.families.owl import OwlSpec
from fovea.families.siglip import SiglipSpec
from fovea.house import wire
from fovea.members import Member
from tests.deployments import TINY

CLIP, GROUNDING_DINO, SAM = TINY.members
PLAY = {
    "clip": (CLIP, Member("clip", "siglip", SiglipSpec(32, 16, 12, 1, 100.0, -10.0))),
    "grounding_dino": (
        GROUNDING_DINO,
        Member("grounding_dino", "owlv2", OwlSpec(64, 16, 12, 12, 0, 0.3)),
    ),
    "sam": (SAM, Member("sam", "hq_sam", SAM.spec)),
}


@pytest.mark.parametrize(
    "members", [*product(*PLAY.values())], ids=lambda members: "-".join(m.family for m in members)
)
def test_every_verb_is_wired_whichever_families_its_members_are_of(members) -> None:
    wired = wire(replace(TINY, members=members))
    assert [ensemble.name for ensemble in wired.ensembles] == [verb.name for verb in TINY.verbs]
