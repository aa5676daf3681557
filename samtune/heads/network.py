"""The dense decoder that heads share: maps over the input, of its embeddings and of its pixels.

SAM's image embeddings have one vector for 16 x 16 pixels of the input: they know what is where, and
not where it ends. So the pixels come in a second time, through a small convolutional stem (strides 2,
4, 8, 16), which the embeddings join at the bottom and the family's finer maps on the way up, as in a
U-Net (arXiv 1505.04597). Maps come out at half of the input's resolution.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samtune.types import Features

# Cells of the maps are so many pixels of the input.
STRIDE = 2
_WIDTHS = (16, 32, 48, 96)
# Channels are normalised within a view, in so many groups: statistics of a batch would be of pictures
# that have nothing in common (dark ones and bright ones), and others in use
_GROUPS = 4


@dataclass(frozen=True)
class Encoded:
    """What an encoder gives to a head.

    Attributes:
        side: S of the input.
        channels: C of the image embeddings.
        details: channels of the finer maps (S/4, S/8), in the order of `Features.details`.
    """

    side: int
    channels: int
    details: tuple[int, ...] = ()


class DenseDecoder(nn.Module):
    """Maps (B, maps, S/2, S/2) of pixel values (B, 3, S, S) and their features.

    Args:
        encoded: what the encoder gives.
        num_maps: channels that come out.
    """

    def __init__(self, encoded: Encoded, num_maps: int) -> None:
        super().__init__()
        self.stem = nn.ModuleList(
            _step(before, after) for before, after in zip((3, *_WIDTHS[:-1]), _WIDTHS, strict=True)
        )
        self.join = nn.Conv2d(encoded.channels, _WIDTHS[-1], 1)
        self.details = nn.ModuleList(
            nn.Conv2d(channels, own, 1)
            for channels, own in zip(encoded.details, _WIDTHS[1:], strict=False)
        )
        self.bottom = _block(2 * _WIDTHS[-1], _WIDTHS[-1])
        self.up = nn.ModuleList(
            _block(below + own, own)
            for below, own in zip(_WIDTHS[:0:-1], _WIDTHS[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(_WIDTHS[0], num_maps, 1)
        # several times as fast on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixel_values: Tensor, features: Features) -> Tensor:
        maps: list[Tensor] = []
        values = pixel_values.contiguous(memory_format=torch.channels_last)
        for step in self.stem:
            values = step(values)
            maps.append(values)
        values = torch.cat([maps.pop(), _sized(self.join(features.main), values)], 1)
        values = self.bottom(values)
        for level, block in zip(range(len(maps) - 1, -1, -1), self.up, strict=True):
            own = maps[level]
            if 0 < level <= len(self.details):  # the finest detail is of stride 4
                own = own + _sized(self.details[level - 1](features.details[level - 1]), own)
            values = block(torch.cat([_sized(values, own), own], 1))
        answer: Tensor = self.last(values)
        return answer


def _sized(values: Tensor, like: Tensor) -> Tensor:
    if values.shape[-2:] == like.shape[-2:]:
        return values
    return F.interpolate(values, like.shape[-2:], mode="bilinear", align_corners=False)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        nn.GroupNorm(_GROUPS, after),
        nn.ReLU(True),
    )


def _step(before: int, after: int) -> nn.Sequential:
    """Half the size, then a look around."""
    return nn.Sequential(_convolution(before, after, 2), _convolution(after, after))


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(_convolution(before, after), _convolution(after, after))
