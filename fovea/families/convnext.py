"""ConvNeXt: tells which of a thousand classes a picture shows."""

from __future__ import annotations

from fovea.families.square_classifier import SquareClassifier


class ConvNext(SquareClassifier):
    """Crops the middle of the picture below 384 pixels, and squashes all of it from there on.

    Formula: Liu et al., "A ConvNet for the 2020s" (CVPR 2022); transformers'
    `ConvNextImageProcessor`.
    """
