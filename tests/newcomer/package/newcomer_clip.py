"""A family of another package, the numpy side: CLIP whose labels are judged one by one."""

import numpy as np

from fovea.families.clip import Clip, ClipSpec


class NewcomerClip(Clip):
    Spec = ClipSpec

    def label_scores(self, image_embeds, label_embeds):
        cosines = label_embeds @ image_embeds
        return np.asarray((1 + cosines) / 2, np.float32)
