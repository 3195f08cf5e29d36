"""The step that prepares inputs other than pictures and texts for an embedder."""

from __future__ import annotations

from fovea.roles import Arrays, MultimodalEmbedder
from fovea.steps.base import Context, Step


class PrepareModality(Step):
    """The caller's tensor of one modality -> the input of its network; raises InvalidInput.

    Raises Overloaded if too many requests wait for the network.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [embeds] = self.roles.values()
        assert isinstance(embeds, MultimodalEmbedder)
        self._modality = embeds.modalities[self.setting("modality", str)]
        self._asks = self.setting("asks", tuple[str, ...])

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        self.check_room(self._asks)
        [prepared] = self._modality.network.inputs
        sent = inputs[self._modality.sent.name]
        return {prepared.name: self._modality.prepare(sent, self.limits)}
