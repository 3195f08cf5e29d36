"""ImageBind's pictures and texts, in a space shared with sound and depth."""

from __future__ import annotations

from fovea.families.open_clip import OpenClip


class ImageBind(OpenClip):
    """OpenCLIP's towers."""
