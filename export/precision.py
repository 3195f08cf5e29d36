"""The precision of each layer: one policy for ONNX, engines and OpenVINO.

fp16 is written into the ONNX graph (`export.lower_precision`) and engines are strongly typed, so
an engine runs each layer in exactly the precision that its graph states. int8 is dynamic: weights
of matrix products are int8 per channel, activations are quantized at run time; it is for CPUs,
engines are fp32 or fp16. bf16 leaves the graph as it is: OpenVINO computes the whole network in
it, on processors that have it (AMX, AVX-512 BF16). bf16-int8 is bf16 except for the largest
matrix products, whose weights are int8 per channel in the graph; OpenVINO quantizes their
activations at run time, in groups along a row, so one large value spoils a group and not the
picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fovea.specs import Tolerance

Precision = Literal["fp32", "fp16", "int8", "bf16", "bf16-int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "bf16", "bf16-int8")


@dataclass(frozen=True)
class Kept:
    """Layers that stay fp32 in a fp16 network.

    operators: ONNX operators. nodes: patterns of node names, which are the paths of the modules
    that they were traced from.
    """

    reason: str
    operators: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """A network's policy, beyond what is kept EVERYWHERE.

    quantized: patterns of the matrix products that are int8; () leaves the network fp32. grouped:
    those that are int8 in bf16-int8; () leaves it bf16. fp16, int8, bf16: how far the answers may
    be from the checkpoint's (bf16 covers bf16-int8 too); without bf16 the network stays fp32, for
    the reason in `bf16_reason`.
    """

    kept: tuple[Kept, ...]
    quantized: tuple[str, ...]
    quantized_reason: str
    fp16: Tolerance
    int8: Tolerance
    bf16: Tolerance | None = None
    bf16_reason: str = ""
    grouped: tuple[str, ...] = ()

    def tolerance(self, precision: Precision, fp32: Tolerance) -> Tolerance:
        """The tolerance in this precision; `fp32` is the network's own."""
        lower = {"fp16": self.fp16, "int8": self.int8, "bf16": self.bf16, "bf16-int8": self.bf16}
        return lower.get(precision) or fp32

    def takes(self, precision: Precision) -> Precision:
        """The precision that the network runs in when `precision` is requested."""
        if precision == "bf16-int8" and not self.grouped:
            precision = "bf16"
        whole = {"int8": not self.quantized, "bf16": not self.bf16, "bf16-int8": not self.bf16}
        return "fp32" if whole.get(precision) else precision

    def keeps(self, operator: str, node: str) -> bool:
        """Whether this node stays fp32 in a fp16 network."""
        return any(
            operator in kept.operators or any(re.search(pattern, node) for pattern in kept.nodes)
            for kept in (*EVERYWHERE, *self.kept)
        )

    def quantizes(self, node: str, precision: Precision = "int8") -> bool:
        """Whether this matrix product is int8 in a network of this precision, int8 or bf16-int8."""
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

# For a network that runs in fp32 only.
NO_POLICY = Policy(
    kept=(), quantized=(), quantized_reason="never tried", fp16=Tolerance(), int8=Tolerance()
)
