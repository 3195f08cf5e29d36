"""EfficientNet: depth, width and resolution grown together; which class does the picture show?"""

from __future__ import annotations

from fovea.families.square_classifier import SquareClassifier


class EfficientNet(SquareClassifier):
    """The whole picture, squashed.

    Formula: Tan and Le, "EfficientNet" (ICML 2019); transformers' `EfficientNetImageProcessor`.
    """
