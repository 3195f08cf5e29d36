"""ALIGN: an EfficientNet for pictures and a BERT for texts, in one space."""

from __future__ import annotations

from fovea.families.clip import Clip


class Align(Clip):
    """Like CLIP, but a picture loses its proportions before its middle is cut out.

    `spec.logit_scale` is the inverse of the temperature. Formula: transformers'
    `AlignModel.forward`.
    """
