"""Small deployments: one without checkpoints, and another's part with the fewest networks."""

from dataclasses import replace

from fovea.deployment import Deployment
from fovea.deployment_file import DeploymentFile
from fovea.families.clip import ClipSpec
from fovea.families.grounding_dino import GroundingDinoSpec
from fovea.families.sam import SamSpec
from fovea.members import Member
from fovea.verbs import verbs_of

VERBS = verbs_of(
    {
        "main_object": {"ranks": "clip", "detects": "grounding_dino", "cuts": "sam"},
        "detect": {"detects": "grounding_dino"},
        "segment": {"cuts": "sam"},
        "detect_and_segment": {"detects": "grounding_dino", "cuts": "sam"},
        "classify": {"classifies": "clip"},
        "segment_everything": {"cuts": "sam"},
        "embed_objects": {"cuts": "sam", "embeds": "clip"},
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


def embeds_only(deployment: DeploymentFile) -> DeploymentFile:
    """Only CLIP's verbs: two networks, for properties of any network."""
    verbs = {verb: {"embeds": "clip"} for verb in ("embed_image", "embed_text")}
    members = {"clip": deployment.members["clip"]}
    return replace(deployment, members=members, verbs=verbs_of(verbs))
