"""A stand-in, and how it is written to disk as a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

# Heads that start at zero would make parity vacuous: all weights get a little noise.
NOISE = 0.02
# The weight of a residual block's last batch norm: what the block adds, relative to its input. With
# 1, dozens of random blocks multiply a rounding error until even PyTorch's float32 is far off.
ADDED = 0.2


class Writable(Protocol):
    """A checkpoint that is not on disk yet."""

    def write(self, folder: Path) -> Path:
        """Write it into a folder; returns what a deployment names, that folder or a file in it."""


# Makes a checkpoint, from torch's global random numbers.
Build = Callable[[], Writable]


@dataclass(frozen=True)
class StandIn:
    """A checkpoint in the layout of transformers.

    pad_token: for a tokenizer that is not transformers' own. noise: whether to move the weights a
    little first; that would undo settled batch norms.
    """

    model: Any
    processor: Any
    tokenizer: Tokenizer | PreTrainedTokenizerBase | None = None
    pad_token: str | None = None
    noise: bool = True

    def write(self, folder: Path) -> Path:
        if self.noise:
            add_noise(self.model)
        self.processor.save_pretrained(folder)
        tokenizer = self.tokenizer
        if isinstance(tokenizer, Tokenizer):
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_object=tokenizer, pad_token=self.pad_token
            )
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        self.model.save_pretrained(folder)
        return folder


def add_noise(model: nn.Module) -> None:
    """Move every parameter a little."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(NOISE * torch.randn_like(parameter))


def settle_batch_norms(model: nn.Module, run: Callable[[], Any]) -> None:
    """Give batch norms the statistics of their inputs; else random weights make answers constant.

    run: calls the model on data. Frozen norms count too: all modules with a running variance.
    """

    def measure(norm: Any, inputs: tuple[torch.Tensor]) -> None:
        others = (0, *range(2, inputs[0].ndim))
        norm.running_mean.copy_(inputs[0].mean(others))
        norm.running_var.copy_(inputs[0].var(others))

    norms = [module for module in model.modules() if hasattr(module, "running_var")]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    with torch.no_grad():
        model.eval()
        run()
    for hook in hooks:
        hook.remove()
