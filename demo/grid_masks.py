"""All outputs of a promptable member's grid decoder for a picture, in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.deployments import Export, run
from export.parity import Session, open_onnxruntime
from export.repository import onnx_path
from fovea import everything
from fovea.deployment_file import DeploymentFile
from fovea.everything import Candidates
from fovea.families.sam import Sam, upsample
from fovea.images import Picture
from fovea.layout import REPOSITORY
from fovea.manifest import exported_deployment
from fovea.members import Source
from fovea.roles import GRID_POINTS, ORIGINAL_SIZE, PIXEL_VALUES, VALID_HW, Arrays
from fovea.specs import ModelSpec
from fovea.steps.everything import JUDGED
from fovea.verbs import verbs_of

EXPORTS = Path("build/export")


def export_promptable(checkpoint: Path) -> Path:
    """The export folder of a checkpoint that only cuts everything out; its member is `cuts`."""
    verbs = verbs_of({"segment_everything": {"cuts": "cuts"}})
    name = f"everything-{checkpoint.name}"
    deployment = DeploymentFile(name, {"cuts": Source(str(checkpoint))}, verbs)
    run(Export(deployment, EXPORTS / name))
    return EXPORTS / name


class GridMasks:
    """A promptable member of an export folder."""

    def __init__(self, export: Path, member: str = "cuts") -> None:
        cuts = exported_deployment(export).play(member)
        assert isinstance(cuts, Sam)
        self.cuts = cuts
        self._sessions: dict[str, Session] = {
            network.name: open_onnxruntime(onnx_path(export / REPOSITORY, network.name))
            for network in (cuts.image_network, cuts.grid_decoder)
        }

    def decode(self, image: Image.Image, points_per_side: int) -> Arrays:
        """Every output of the grid decoder for the whole grid, and the points."""
        original_hw = (image.height, image.width)
        pixels, valid_hw = self.cuts.geometry.apply(Picture(image))
        picture: Arrays = {
            VALID_HW: valid_hw[None],
            ORIGINAL_SIZE.name: np.array([original_hw], np.int32),
        }
        seen = {PIXEL_VALUES: pixels[None], VALID_HW: valid_hw[None]}
        maps = self._run(self.cuts.image_network, seen)
        points = everything.point_grid(points_per_side, original_hw)
        answers = [
            self._run(self.cuts.grid_decoder, maps | picture | {GRID_POINTS.name: chunk[None]})
            for chunk in everything.chunked(points)
        ]
        joined = {name: np.concatenate([one[name][0] for one in answers]) for name in answers[0]}
        return joined | {GRID_POINTS.name: points}

    def draw(
        self, logits: NDArray[np.float32], original_hw: tuple[int, int], min_piece: float
    ) -> NDArray[np.bool_]:
        """One of the low-resolution masks [M, M] at the picture's size, without specks."""
        logits = self.cuts.without_specks(logits, original_hw, min_piece)
        return upsample(logits, original_hw, self.cuts.spec.image_size)

    def _run(self, network: ModelSpec, feed: Arrays) -> Arrays:
        names = [tensor.name for tensor in network.outputs]
        feed = {tensor.name: feed[tensor.name] for tensor in network.inputs}
        return dict(zip(names, self._sessions[network.name].run(names, feed), strict=True))


def candidates_of(decoded: Arrays) -> Candidates:
    """The candidates from `GridMasks.decode`."""
    return Candidates(decoded[GRID_POINTS.name], *(decoded[name] for name in JUDGED))
