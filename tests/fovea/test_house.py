"""Members of any family can replace each other in every verb."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from fovea.families.imagebind import ImageBind
from fovea.families.owl import OwlSpec
from fovea.families.siglip import SiglipSpec
from fovea.house import wire
from fovea.members import Member
from fovea.verbs import MODALITIES, InvalidDeployment, verbs_of
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


EMBEDS = verbs_of({f"embed_{name}": {"embeds": "clip"} for name in MODALITIES})
BIND = Member("clip", "imagebind", CLIP.spec)


def test_each_modality_has_a_step_and_a_network() -> None:
    wired = wire(replace(TINY, members=(BIND,), verbs=EMBEDS))
    assert {step.model.name for step in wired.steps} == {f"clip_prepare_{n}" for n in MODALITIES}
    assert {network.name for network in wired.networks} == {f"clip_{n}_encoder" for n in MODALITIES}
    assert [ensemble.inputs[0].name for ensemble in wired.ensembles] == [
        "AUDIO",
        "DEPTH",
        "THERMAL",
        "IMU",
    ]


class HearsOnly(ImageBind):
    @property
    def modalities(self):
        return {"audio": super().modalities["audio"]}


class HearingMember(Member):
    def play(self):
        return HearsOnly(self.name, self.spec)


def test_a_modality_that_a_member_lacks_is_refused() -> None:
    deployment = replace(TINY, members=(HearingMember(*vars(BIND).values()),), verbs=EMBEDS)
    with pytest.raises(InvalidDeployment, match="embeds depth, 'clip' embeds audio"):
        wire(deployment)
