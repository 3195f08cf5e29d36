"""TinyViT as MobileSAM's image encoder, with upstream's weight names.

Architecture: Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers",
ECCV 2022: convolutions first, then attention within windows, each with a table of biases by
distance. MobileSAM (Zhang et al., "Faster Segment Anything", 2023) changed the end: the last
merging of patches keeps the resolution, so a cell is 16 pixels, and SAM's neck follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.sam.modeling_sam import SamLayerNorm

# Edge in pixels of a cell of the answer.
STRIDE = 16
MLP_RATIO = 4


@dataclass(frozen=True)
class TinyVitShape:
    """Widths and depths of each stage; heads and window edges (in cells) of all but the first.

    channels: of the answer.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]
    channels: int


class ConvNorm(nn.Sequential):
    """A convolution without bias, then a batch norm."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        convolution = nn.Conv2d(
            before, after, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.add_module("c", convolution)
        self.add_module("bn", nn.BatchNorm2d(after))


class ConvBlock(nn.Module):
    """An inverted bottleneck: [N, C, E, E] to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = MLP_RATIO * width
        self.conv1 = ConvNorm(width, wide, 1)
        self.conv2 = ConvNorm(wide, wide, 3, groups=wide)
        self.conv3 = ConvNorm(wide, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        wide = functional.gelu(self.conv2(functional.gelu(self.conv1(maps))))
        return functional.gelu(maps + self.conv3(wide))


class Merging(nn.Module):
    """Between stages: [N, C, E, E] -> [N, D, E / stride, E / stride]."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(before, after, 1)
        self.conv2 = ConvNorm(after, after, 3, stride, groups=after)
        self.conv3 = ConvNorm(after, after, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(maps)))))


class WindowAttention(nn.Module):
    """Attention within windows of W x W cells: [N, W * W, C] to the same.

    attention_biases [heads, W * W]: by the distance between two cells, down and across.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.cells = heads, window * window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, self.cells))
        row = torch.arange(self.cells) // window
        column = torch.arange(self.cells) % window
        down, across = ((one[:, None] - one[None]).abs() for one in (row, column))
        self.register_buffer("distances", down * window + across, persistent=False)

    def forward(self, cells: Tensor) -> Tensor:
        width = cells.shape[2]
        each = self.qkv(self.norm(cells)).view(-1, self.cells, self.heads, 3 * width // self.heads)
        query, key, value = each.transpose(1, 2).chunk(3, dim=-1)
        scores = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5
        mixed = (scores + self.attention_biases[:, self.distances]).softmax(dim=-1) @ value
        return self.proj(mixed.transpose(1, 2).reshape(-1, self.cells, width))


class Mlp(nn.Module):
    """[N, L, C] to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, cells: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(self.norm(cells))))


class WindowBlock(nn.Module):
    """Attention within windows, a convolution of each channel, an MLP: [N, C, E, E] to the same."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width)

    def forward(self, maps: Tensor, edge: int) -> Tensor:
        """edge: E, which is fixed in a graph."""
        maps = self.local_conv(maps + self._attend(maps, edge))
        cells = maps.flatten(2).transpose(1, 2)
        return (cells + self.mlp(cells)).transpose(1, 2).unflatten(2, (edge, edge))

    def _attend(self, maps: Tensor, edge: int) -> Tensor:
        """Zeros fill up the last windows, and are attended to as in upstream."""
        window, width = self.window, maps.shape[1]
        missing = -edge % window
        count = (edge + missing) // window
        filled = functional.pad(maps, (0, missing, 0, missing))
        split = filled.view(-1, width, count, window, count, window).permute(0, 2, 4, 3, 5, 1)
        attended = self.attn(split.reshape(-1, window * window, width))
        whole = attended.view(-1, count, count, window, window, width).permute(0, 5, 1, 3, 2, 4)
        full = edge + missing
        return whole.reshape(-1, width, full, full)[:, :, :edge, :edge]


class Stage(nn.Module):
    """Blocks, then a merging of patches, except in the last stage."""

    def __init__(self, blocks: list[nn.Module], merging: Merging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = merging


class PatchEmbedding(nn.Module):
    """Pixels [N, 3, S, S] -> [N, C, S / 4, S / 4]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = ConvNorm(3, width // 2, 3, 2), ConvNorm(width // 2, width, 3, 2)
        self.seq = nn.Sequential(first, nn.GELU(), second)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.seq(pixels)


class TinyVit(nn.Module):
    """Normalised pixels [N, 3, S, S] -> image embedding [N, C, S / STRIDE, S / STRIDE]."""

    def __init__(self, shape: TinyVitShape) -> None:
        super().__init__()
        widths = shape.widths
        self.patch_embed = PatchEmbedding(widths[0])
        last = len(widths) - 1
        stages = []
        for place, (width, depth) in enumerate(zip(widths, shape.depths, strict=True)):
            if place == 0:
                blocks: list[nn.Module] = [ConvBlock(width) for _ in range(depth)]
            else:
                heads, window = shape.heads[place - 1], shape.windows[place - 1]
                blocks = [WindowBlock(width, heads, window) for _ in range(depth)]
            stride = 1 if place == last - 1 else 2
            merging = Merging(width, widths[place + 1], stride) if place < last else None
            stages.append(Stage(blocks, merging))
        self.layers = nn.ModuleList(stages)
        channels = shape.channels
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], channels, 1, bias=False),
            SamLayerNorm(channels, data_format="channels_first"),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            SamLayerNorm(channels, data_format="channels_first"),
        )

    def forward(self, pixels: Tensor, size: int) -> Tensor:
        """size: S, which is fixed in a graph; a multiple of STRIDE."""
        maps, edge = self.patch_embed(pixels), size // 4
        for stage in self.layers:
            for block in stage.blocks:
                maps = block(maps, edge) if isinstance(block, WindowBlock) else block(maps)
            if stage.downsample is not None:
                maps = stage.downsample(maps)
                edge //= stage.downsample.conv2.c.stride[0]
        return self.neck(maps)
