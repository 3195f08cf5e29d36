"""ConvNeXt V2: ConvNeXt whose blocks normalise the responses of their channels."""

from __future__ import annotations

from fovea.families.convnext import ConvNext


class ConvNextV2(ConvNext):
    """Pixels, scores and the spec are ConvNeXt's."""
