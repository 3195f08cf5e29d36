"""An embedder of a tiny checkpoint, exported from a TOML file and run in this process."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from export import stand_ins
from export.checkpoints import Checkpoint
from export.deployments import Export, read_deployment, run
from export.members import MEMBERS
from export.preprocessing import photograph
from fovea.local import Local
from fovea.roles import Embedder

STAND_INS = Path("build/stand-ins")
DEPLOYMENT = """
[members]
{name} = {{ checkpoint = "{path}", family = "{family}" }}
[verbs]
embed_image = {{ embeds = "{name}" }}
embed_text = {{ embeds = "{name}" }}
"""
LABELS = ("a cat", "It's a Red T-shirt!", "café  naïve")
# Wide, tall and small: none is square.
PICTURES = tuple(photograph(size_hw) for size_hw in ((120, 200), (90, 50), (31, 40)))


@dataclass(frozen=True)
class Served:
    """A deployment of one embedder."""

    checkpoint: Checkpoint
    role: Embedder
    local: Local

    def embed_images(self) -> np.ndarray:
        """Vectors of PICTURES, [N, D]."""
        return np.stack([self._ask("image", png(picture)) for picture in PICTURES])

    def embed_texts(self) -> np.ndarray:
        """Vectors of LABELS, [L, D]."""
        return np.stack([self._ask("text", label.encode()) for label in LABELS])

    def label_scores(self) -> np.ndarray:
        """Scores of each label for each picture, [N, L]."""
        texts = self.embed_texts()
        return np.stack([self.role.label_scores(image, texts) for image in self.embed_images()])

    def _ask(self, what: str, value: bytes) -> np.ndarray:
        inputs = {what.upper(): np.array([value], np.object_)}
        return self.local.infer(f"embed_{what}", inputs)[f"{what.upper()}_EMBEDS"]


def serve(family: str, name: str, folder: Path) -> Served:
    """Export a family's stand-in of that name into a folder."""
    path = stand_ins.write(family, "tiny", STAND_INS / family)[name].resolve()
    toml = folder / "deployment.toml"
    toml.write_text(DEPLOYMENT.format(name=name, path=path, family=family))
    export = Export(read_deployment(str(toml)), folder / "export", members=MEMBERS)
    run(export)
    [request] = export.find().values()
    return Served(request.checkpoint, request.open().role, Local(export.out))


def png(picture: Image.Image) -> bytes:
    written = io.BytesIO()
    picture.save(written, "png")
    return written.getvalue()


def spread(vectors: np.ndarray) -> float:
    """The smallest distance between any two of them, [N, D]: equal ones would prove nothing."""
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    return float(distances[~np.eye(len(vectors), dtype=bool)].min())
