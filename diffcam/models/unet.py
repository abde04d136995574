"""GatedUNet: the convolutional network that finds and undoes a photo's blur."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedBlock(nn.Module):
    """Two convolutions with a gate between them, added to what came in.

    Args:
        channels: In and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.contract = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.contract.weight *= 0.1

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """``x + contract(a b)`` with ``a, b`` the halves of ``expand(norm(x))``, normalised pixel by pixel."""
        normal_BCHW = self.norm(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        gate_BCHW, value_BCHW = self.expand(normal_BCHW).chunk(2, dim=1)
        changed_BCHW: Tensor = x_BCHW + self.contract(gate_BCHW * value_BCHW)
        return changed_BCHW


class GatedUNet(nn.Module):
    """A U-Net over pictures of any size; local throughout.

    Nothing in it looks at the whole picture (no normalisation, no pooling to one value): a crop gives what the whole
    gives there.

    Args:
        inputs: Channels of the pictures.
        channels: Of each level, finest first; the finest works at half the size, each next one at half of that.
        down: Blocks of each level on the way down.
        up: Blocks of each level that is returned to, finest first; levels finer than the last are not returned to.
        finest: Number of that level; its features are what comes out.
    """

    def __init__(
        self, inputs: int, channels: Sequence[int], down: Sequence[int], up: Sequence[int], finest: int = 0
    ) -> None:
        super().__init__()

        def level(width: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(GatedBlock(width) for _ in range(count)))

        pairs = list(pairwise(channels))
        self.finest = finest
        self.multiple = 2 ** len(channels)
        self.enter = nn.Conv2d(4 * inputs, channels[0], 3, padding=1)
        self.down = nn.ModuleList(level(width, count) for width, count in zip(channels, down, strict=True))
        self.reduce = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.enlarge = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs[finest:])
        self.up = nn.ModuleList(level(width, count) for width, count in zip(channels[finest:-1], up, strict=True))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Features of the finest level returned to: one for every square of ``2 ** (finest + 1)`` pixels."""
        height, width = x_BCHW.shape[-2:]
        x = F.pad(x_BCHW, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        x = self.enter(F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        skipped = []
        for number, level in enumerate(self.down):
            x = level(x)
            if number < len(self.reduce):
                skipped.append(x)
                x = self.reduce[number](x)
        for enlarge, level, skip in zip(
            reversed(self.enlarge), reversed(self.up), reversed(skipped[self.finest :]), strict=True
        ):
            x = level(F.pixel_shuffle(enlarge(x), 2) + skip)
        square = 2 ** (self.finest + 1)
        return x[..., : -(-height // square), : -(-width // square)]
