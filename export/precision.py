"""Which precision each layer of each network runs in: one policy for ONNX, engines and OpenVINO.

fp16 is written into the ONNX graph (`export.lower_precision`) and engines are strongly typed, so
an engine runs each layer in exactly the precision that its graph states. int8 is dynamic: weights
of matrix products are int8 per channel, activations are quantized as they come; it is for CPUs,
engines are fp32 or fp16. bf16 leaves the graph as it is: OpenVINO computes in it, as a whole
network, on processors that have it (AMX, AVX-512 BF16). bf16-int8 is bf16 but for the largest
matrix products, whose weights are int8 per channel in the graph; OpenVINO quantizes their
activations as they come, in groups along a row, so that one large value spoils a group and not the
picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fovea import clip, grounding_dino, sam
from fovea.specs import Tolerance

Precision = Literal["fp32", "fp16", "int8", "bf16", "bf16-int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "bf16", "bf16-int8")


@dataclass(frozen=True)
class Kept:
    """Layers that stay fp32 in a fp16 network.

    operators: ONNX operators. nodes: patterns of the names of nodes, which are the paths of the
    modules that they were traced from.
    """

    reason: str
    operators: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """Of one network, beyond what is kept EVERYWHERE.

    quantized: patterns of the matrix products that int8 takes; () leaves the network fp32.
    grouped: those that are int8 in bf16-int8; () leaves it bf16. fp16, int8, bf16: how far the
    answers may be from the checkpoint's, with bf16 for bf16-int8 too; without bf16 the network
    stays fp32, for the reason in `bf16_reason`.
    """

    network: str
    kept: tuple[Kept, ...]
    quantized: tuple[str, ...]
    quantized_reason: str
    fp16: Tolerance
    int8: Tolerance
    bf16: Tolerance | None = None
    bf16_reason: str = ""
    grouped: tuple[str, ...] = ()

    def tolerance(self, precision: Precision, fp32: Tolerance) -> Tolerance:
        """Of this precision; `fp32` is the network's own."""
        lower = {"fp16": self.fp16, "int8": self.int8, "bf16": self.bf16, "bf16-int8": self.bf16}
        return lower.get(precision) or fp32

    def takes(self, precision: Precision) -> Precision:
        """What the network runs in when `precision` is asked for."""
        if precision == "bf16-int8" and not self.grouped:
            precision = "bf16"
        whole = {"int8": not self.quantized, "bf16": not self.bf16, "bf16-int8": not self.bf16}
        return "fp32" if whole.get(precision) else precision

    def keeps(self, operator: str, node: str) -> bool:
        """Does this node stay fp32 in a fp16 network?"""
        return any(
            operator in kept.operators or any(re.search(pattern, node) for pattern in kept.nodes)
            for kept in (*EVERYWHERE, *self.kept)
        )

    def quantizes(self, node: str, precision: Precision = "int8") -> bool:
        """Is this matrix product int8 in a network of this precision, int8 or bf16-int8?"""
        patterns = self.quantized if precision == "int8" else self.grouped
        return any(re.search(pattern, node) for pattern in patterns)


EVERYWHERE = (
    Kept(
        "normalisation: sums of squares overflow in half, and small variances vanish",
        operators=(
            "LayerNormalization",
            "InstanceNormalization",
            "GroupNormalization",
            "Pow",
            "Sqrt",
            "ReduceSum",
            "ReduceMean",
            "ReduceL2",
        ),
        # `Network.module.normalize`: 0..255 to mean 0, once per pixel.
        nodes=(r"^/normalize/",),
    ),
    Kept("softmax: sums of many small exponentials", operators=("Softmax", "LogSoftmax", "Exp")),
    Kept("angles: half has 0.001 at 2, and 1 at 2048", operators=("Sin", "Cos")),
    Kept("ranking: equal halves would be ranked by chance", operators=("TopK", "ArgMax")),
    Kept("counting, as positions are made", operators=("CumSum", "Range")),
    Kept("resizing: of masks, and once of tables of positions", operators=("Resize",)),
)

POLICIES = {
    policy.network: policy
    for policy in (
        Policy(
            clip.IMAGE_ENCODER,
            kept=(Kept("the embedding's length is made 1", nodes=(r"^/[^/]+$",)),),
            quantized=(r".",),
            quantized_reason="a single vector per picture, averaged over many tokens",
            fp16=Tolerance(difference=2e-3),
            int8=Tolerance(difference=5e-2),
            bf16=Tolerance(difference=1e-2),
        ),
        Policy(
            clip.TEXT_ENCODER,
            kept=(Kept("the embedding's length is made 1", nodes=(r"^/[^/]+$",)),),
            quantized=(r".",),
            quantized_reason="a single vector per text",
            fp16=Tolerance(difference=2e-3),
            int8=Tolerance(difference=5e-2),
            bf16=Tolerance(difference=1e-2),
        ),
        Policy(
            grounding_dino.NETWORK,
            kept=(
                Kept("sampling, with GridSample or by gathers", nodes=(r"_attn/attn/",)),
                Kept(
                    "sampling: its coordinates",
                    operators=("GridSample",),
                    nodes=(
                        r"/(deformable_layer/self_attn|encoder_attn)/([^/]+|sampling_offsets/.*)$",
                    ),
                ),
                Kept(
                    "coordinates: positions of pixels, reference points, proposals",
                    nodes=(
                        r"/position_embedding",
                        r"^/[^/]+$",
                        r"^/model/[^/]+$",
                        r"^/model/model/[^/]+$",
                        r"^/model/model/(encoder|decoder|backbone)/[^/]+$",
                        r"^/model/model/backbone/conv_encoder/[^/]+$",
                        r"/reference_points_head",
                    ),
                ),
                Kept(
                    "box refinement: added to the inverse sigmoid of the last box",
                    operators=("Sigmoid", "Log"),
                    nodes=(r"bbox_embed",),
                ),
                Kept(
                    "top-k: the scores that choose the proposals, and the answer's own",
                    nodes=(r"/enc_output", r"class_embed"),
                ),
            ),
            quantized=(r"/backbone/conv_encoder/", r"/text_backbone/"),
            quantized_reason="its transformer broke; the backbones are most of it",
            fp16=Tolerance(difference=1e-2, rows=0.9),
            int8=Tolerance(difference=5e-2, rows=0.8),
            bf16=Tolerance(difference=5e-2, rows=0.8),
            grouped=(r"/backbone/conv_encoder/", r"/deformable_layer/fc[12]/"),
        ),
        Policy(
            sam.IMAGE_ENCODER,
            kept=(),
            quantized=(r".",),
            quantized_reason="the embedding goes into a decoder that stays fp32",
            fp16=Tolerance(difference=5e-3),
            int8=Tolerance(difference=1e-1),
            bf16=Tolerance(difference=5e-2),
            grouped=(r".",),
        ),
        Policy(
            sam.MASK_DECODER,
            kept=(
                Kept(
                    "coordinates: a pixel of 1024 is below half's resolution",
                    nodes=(r"^/shared_embedding/", r"^/[^/]+$"),
                ),
                Kept("the scores that choose among three masks", nodes=(r"iou_prediction_head",)),
            ),
            quantized=(),
            quantized_reason="its masks broke (agreement 0.8 of the area), and it is the smallest",
            fp16=Tolerance(difference=3e-2),
            int8=Tolerance(),
            bf16_reason="coordinates: bf16 has 4 pixels at 1024; and it is the smallest",
        ),
    )
}
