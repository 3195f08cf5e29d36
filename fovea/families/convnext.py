"""ConvNeXt: which of a thousand classes does the picture show?"""

from __future__ import annotations

from fovea.families.square_classifier import SquareClassifier


class ConvNext(SquareClassifier):
    """The middle of the picture below 384 pixels, all of it squashed from there on.

    Formula: Liu et al., "A ConvNet for the 2020s" (CVPR 2022); transformers'
    `ConvNextImageProcessor`.
    """
