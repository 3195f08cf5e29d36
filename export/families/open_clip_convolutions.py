"""OpenCLIP's convolutional towers, with the weight names of its checkpoints.

Architectures: CLIP's ResNet (Radford et al., ICML 2021, section 2.4), and ConvNeXt (Liu et al.,
"A ConvNet for the 2020s", CVPR 2022) as timm names its weights.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# How much CLIP's ResNet shrinks its input; how much wider a block's output is than its middle.
RESNET_STRIDE = 32
EXPANSION = 4
# (blocks, width) of each stage of a ConvNeXt.
Stages = tuple[tuple[int, int], ...]


class Bottleneck(nn.Module):
    """Three convolutions with a skip; a stride is an average pool before the last of them."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        wide = planes * EXPANSION
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.average = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != wide:
            layers = {
                "-1": nn.AvgPool2d(stride),
                "0": nn.Conv2d(channels, wide, 1, bias=False),
                "1": nn.BatchNorm2d(wide),
            }
            self.downsample = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = self.average(F.relu(self.bn2(self.conv2(inner))))
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(x))


class AttentionPool(nn.Module):
    """[N, C, H, W] -> [N, D]: the mean attends to itself and to every place."""

    def __init__(self, edge: int, channels: int, heads: int, embed_dim: int) -> None:
        super().__init__()
        places = torch.randn(edge * edge + 1, channels) * channels**-0.5
        self.positional_embedding = nn.Parameter(places)
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embed_dim)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2).transpose(1, 2)
        x = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)
        x = x + self.positional_embedding
        projected = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in projected)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        pooled: Tensor = self.c_proj(mixed.flatten(1))
        return pooled


class ModifiedResNet(nn.Module):
    """Normalised pixels [N, 3, S, S] -> [N, D]; layers: blocks of each of the four stages."""

    def __init__(
        self, layers: tuple[int, ...], width: int, heads: int, image_size: int, embed_dim: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        channels = width
        for stage, blocks in enumerate(layers):
            planes, stride = width * 2**stage, 1 if stage == 0 else 2
            made = [Bottleneck(channels, planes, stride)]
            channels = planes * EXPANSION
            made += [Bottleneck(channels, planes, 1) for _ in range(1, blocks)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.attnpool = AttentionPool(image_size // RESNET_STRIDE, channels, heads, embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        pooled: Tensor = self.attnpool(x)
        return pooled


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """A wide depthwise convolution and an MLP over channels, scaled, with a skip."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps)
        layers = {
            "fc1": nn.Linear(channels, 4 * channels),
            "act": nn.GELU(),
            "fc2": nn.Linear(4 * channels, channels),
        }
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.gamma = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + (inner * self.gamma).permute(0, 3, 1, 2)


class ConvNextStage(nn.Module):
    """Halves the size, except in the first stage, then applies the blocks."""

    def __init__(self, before: int, channels: int, blocks: int, eps: float) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if before != channels:
            half = nn.Conv2d(before, channels, 2, stride=2)
            self.downsample = nn.Sequential(ChannelNorm(before, eps), half)
        self.blocks = nn.Sequential(*(ConvNextBlock(channels, eps) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self.blocks(self.downsample(x))
        return seen


class ConvNext(nn.Module):
    """Normalised pixels [N, 3, S, S] -> [N, D].

    mlp: the projection is an MLP instead of one product.
    """

    def __init__(
        self,
        stages: Stages,
        embed_dim: int,
        *,
        mlp: bool,
        bias: bool,
        eps: float,
    ) -> None:
        super().__init__()
        first, last = stages[0][1], stages[-1][1]
        made, before = [], first
        for blocks, width in stages:
            made.append(ConvNextStage(before, width, blocks, eps))
            before = width
        trunk = {
            "stem": nn.Sequential(nn.Conv2d(3, first, 4, stride=4), ChannelNorm(first, eps)),
            "stages": nn.Sequential(*made),
            "head": nn.ModuleDict({"norm": nn.LayerNorm(last, eps)}),
        }
        self.trunk = nn.ModuleDict(trunk)
        linear = nn.Linear(last, embed_dim, bias=bias)
        layers = {
            "fc1": nn.Linear(last, 2 * embed_dim),
            "act": nn.GELU(),
            "fc2": nn.Linear(2 * embed_dim, embed_dim, bias=bias),
        }
        self.head = nn.ModuleDict(
            {"mlp": nn.Sequential(OrderedDict(layers))} if mlp else {"proj": linear}
        )

    def forward(self, pixels: Tensor) -> Tensor:
        seen = self.trunk["stages"](self.trunk["stem"](pixels))
        pooled: Tensor = self.trunk["head"]["norm"](seen.mean(dim=(2, 3)))
        for layer in self.head.values():
            pooled = layer(pooled)
        return pooled
