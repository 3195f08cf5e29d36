"""A pipeline of small numbers for tests that need no checkpoint."""

from fovea.clip import ClipSpec
from fovea.grounding_dino import GroundingDinoSpec
from fovea.pipeline import PipelineSpec
from fovea.sam import SamSpec

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

TINY = PipelineSpec(
    clip=ClipSpec(32, MEAN, STD, 16, 12, 1, 100.0),
    grounding_dino=GroundingDinoSpec(
        64, 64, (64, 64), MEAN, STD, (16, 32), 0, 5, box_threshold=0.3, text_threshold=0.25
    ),
    sam=SamSpec(64, MEAN, STD, 8, 8, 32),
)
