"""EfficientNet: a classifier with depth, width and resolution scaled together."""

from __future__ import annotations

from fovea.families.square_classifier import SquareClassifier


class EfficientNet(SquareClassifier):
    """Squashes the whole picture.

    Formula: Tan and Le, "EfficientNet" (ICML 2019); transformers' `EfficientNetImageProcessor`.
    """
