"""ImageBind's pictures and texts: CLIP's place in a space that sounds and depths share."""

from __future__ import annotations

from fovea.families.open_clip import OpenClip


class ImageBind(OpenClip):
    """As OpenCLIP, whose towers it has."""
