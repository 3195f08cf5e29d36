"""1,024 points of a picture: the grid decoder against SAM's plain one with four masks each.

Both run in ONNX Runtime in this process, in chunks, and end at the masks that are kept. Of the
plain one all masks leave the graph and are judged at the picture's size, as segment-anything and
transformers do it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import SamModel

from benchmarks.figures import timed
from demo.training import CHECKPOINTS_FOLDER
from export.families.sam import MaskDecoder, sample_maps, to_input_frame
from export.families.sam_grid import ends, sample_grid, single_points
from export.network import Network
from export.parity import Session, open_onnxruntime
from export.repository import onnx_path
from export.to_onnx import to_onnx
from fovea import everything
from fovea.everything import STABILITY_OFFSET, Candidates, Settings
from fovea.families.sam import MASK_THRESHOLD, Sam
from fovea.layout import REPOSITORY
from fovea.manifest import exported_deployment
from fovea.roles import GRID_POINTS, IOU_SCORES, LOW_RES_MASKS, ORIGINAL_SIZE, VALID_HW
from fovea.steps.everything import JUDGED

POINTS_PER_SIDE, MASKS = 32, 4

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Decoders:
    """Pictures a second of each, medians; ratio: grid / plain. bytes: that leave the graph."""

    points: int
    grid: float
    plain: float
    ratio: float
    grid_bytes: int
    plain_bytes: int
    grid_masks: int
    plain_masks: int


class AllMasks(MaskDecoder):
    """The inputs of the grid decoder -> iou_scores [N, P, 4], low_res_masks [N, P, 4, M, M]."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        maps, grid_points, valid_hw, original_size_hw = inputs
        coords, labels = single_points(grid_points)
        return self.all_masks(maps, to_input_frame(coords, valid_hw, original_size_hw), labels)


def export_plain(cuts: Sam, path: Path) -> Path:
    """The demo's decoder with all of its masks."""
    model = SamModel.from_pretrained(CHECKPOINTS_FOLDER / "sam").eval()
    grid = cuts.grid_decoder
    by_name = {tensor.name: tensor for tensor in grid.outputs}
    scores, masks = by_name[IOU_SCORES], by_name[LOW_RES_MASKS]
    edge = cuts.spec.mask_edge
    outputs = (replace(scores, shape=(-1, MASKS)), replace(masks, shape=(-1, MASKS, edge, edge)))
    spec = replace(grid, name="sam_all_masks_decoder", outputs=outputs)
    sample = partial(_sample, cuts)
    to_onnx(Network(spec, AllMasks(model, cuts.spec), sample, variants=3), path)
    return path


def _sample(cuts: Sam, batch: int, variant: int) -> Arrays:
    return sample_maps(cuts, batch, variant) | sample_grid(cuts.spec, batch, variant)


class Decoder:
    """One picture's points, by either decoder. bytes: of all answers so far."""

    def __init__(self, cuts: Sam, grid: Path, plain: Path) -> None:
        spec = cuts.spec
        self._settings = Settings(
            POINTS_PER_SIDE, spec.iou_threshold, spec.stability_threshold, 0, max_objects=1_000
        )
        hw = np.array([[spec.image_size, spec.image_size]], np.int32)
        self._picture = sample_maps(cuts, 1, 0) | {VALID_HW: hw, ORIGINAL_SIZE.name: hw}
        self._points = everything.point_grid(POINTS_PER_SIDE, (spec.image_size, spec.image_size))
        self._edge = spec.image_size
        self._grid, self._plain = open_onnxruntime(grid), open_onnxruntime(plain)
        self.bytes = 0

    def grid(self) -> int:
        """Judged in the graph; masks leave it for the kept points only. How many are kept."""
        answers = [
            self._ask(self._grid, chunk, JUDGED) for chunk in everything.chunked(self._points)
        ]
        kept = self._keep(*(np.concatenate([one[n][0] for one in answers]) for n in JUDGED))
        for chunk in everything.chunked(self._points[np.unique(kept[:, 0])]):
            self._ask(self._grid, chunk, (LOW_RES_MASKS,))
        return len(kept)

    def plain(self) -> int:
        """Four masks a point, judged here at the picture's size. How many are kept."""
        parts: list[tuple[NDArray[Any], ...]] = []
        for chunk in everything.chunked(self._points):
            found = self._ask(self._plain, chunk, (IOU_SCORES, LOW_RES_MASKS))
            logits = torch.from_numpy(found[LOW_RES_MASKS][0][:, 1:])
            full = functional.interpolate(logits, (self._edge, self._edge), mode="bilinear")
            parts.append((found[IOU_SCORES][0][:, 1:], *judged(full)))
        return len(self._keep(*map(np.concatenate, zip(*parts, strict=True))))

    def _keep(self, *figures: NDArray[Any]) -> NDArray[np.int64]:
        return everything.keep(Candidates(self._points, *figures), self._settings)

    def _ask(self, session: Session, points: NDArray[Any], names: Sequence[str]) -> Arrays:
        feed = self._picture | {GRID_POINTS.name: points[None]}
        found: Arrays = dict(zip(names, session.run(list(names), feed), strict=True))
        self.bytes += sum(value.nbytes for value in found.values())
        return found


def measure(export: Path, times: int) -> Decoders:
    """Both in turns. export: of the demo's deployment."""
    cuts = exported_deployment(export).play("sam")
    assert isinstance(cuts, Sam)
    with tempfile.TemporaryDirectory() as folder:
        plain = export_plain(cuts, Path(folder) / "plain.onnx")
        decoder = Decoder(cuts, onnx_path(export / REPOSITORY, cuts.grid_decoder.name), plain)
        kept = {"grid": decoder.grid(), "plain": decoder.plain()}
        seconds: dict[str, list[float]] = {"grid": [], "plain": []}
        sent = dict.fromkeys(seconds, 0)
        for _ in range(times):
            for name, call in (("grid", decoder.grid), ("plain", decoder.plain)):
                before = decoder.bytes
                seconds[name].append(timed(call)[1])
                sent[name] = decoder.bytes - before
    rates = {name: 1 / statistics.median(values) for name, values in seconds.items()}
    return Decoders(
        points=POINTS_PER_SIDE**2,
        grid=rates["grid"],
        plain=rates["plain"],
        ratio=rates["grid"] / rates["plain"],
        grid_bytes=sent["grid"],
        plain_bytes=sent["plain"],
        grid_masks=kept["grid"],
        plain_masks=kept["plain"],
    )


def judged(logits: Tensor) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """[P, 3, H, W] -> stability, areas [P, 3], boxes [P, 3, 4], as segment-anything has them."""
    raised = (logits > MASK_THRESHOLD + STABILITY_OFFSET).sum((-2, -1))
    lowered = (logits > MASK_THRESHOLD - STABILITY_OFFSET).sum((-2, -1))
    drawn = logits > MASK_THRESHOLD
    left, right = ends(drawn.any(-2))
    top, bottom = ends(drawn.any(-1))
    boxes = torch.stack([left, top, right, bottom], dim=-1)
    stability, areas = raised / lowered.clamp(min=1), drawn.sum((-2, -1))
    return stability.numpy(), areas.numpy(), boxes.numpy()
