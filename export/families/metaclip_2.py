"""MetaCLIP 2 checkpoints as two networks.

Code: CC-BY-NC 4.0 upstream, Apache-2.0 in transformers. Weights: CC-BY-NC 4.0: not for commercial
use.
"""

from __future__ import annotations

from typing import Any

from transformers import MetaClip2Model

from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint
from export.families.clip import ClipExport
from export.family import Options
from fovea.families.clip import ClipSpec


class MetaClip2Export(ClipExport):
    """MetaCLIP 2; its networks are CLIP's, and read a text at its first end-of-text token."""

    model_class = MetaClip2Model

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> ClipSpec:
        end = self.load_tokenizer(checkpoint).eos_token_id
        expected = model.config.text_config.eos_token_id
        if end != expected:
            raise InvalidCheckpoint(
                f"{checkpoint.name}: the text model reads a text at token {expected}, "
                f"the tokenizer ends it with {end}"
            )
        return super().read_spec(checkpoint, model, processor, options)
