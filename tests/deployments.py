"""A deployment of small numbers for tests that need no checkpoint."""

from fovea.deployment import Deployment, verbs_of
from fovea.families.clip import ClipSpec
from fovea.families.grounding_dino import GroundingDinoSpec
from fovea.families.sam import SamSpec
from fovea.members import Member

VERBS = verbs_of(
    {
        "main_object": {"ranks": "clip", "detects": "grounding_dino", "cuts": "sam"},
        "detect": {"detects": "grounding_dino"},
        "segment": {"cuts": "sam"},
        "detect_and_segment": {"detects": "grounding_dino", "cuts": "sam"},
        "embed_image": {"embeds": "clip"},
        "embed_text": {"embeds": "clip"},
    }
)

TINY = Deployment(
    members=(
        Member("clip", "clip", ClipSpec(32, 16, 12, 1, 100.0)),
        Member(
            "grounding_dino",
            "grounding_dino",
            GroundingDinoSpec(
                64, 64, (64, 64), (16, 32), 0, 5, box_threshold=0.3, text_threshold=0.25
            ),
        ),
        Member("sam", "sam", SamSpec(64, 8, 8, 32)),
    ),
    verbs=VERBS,
)
