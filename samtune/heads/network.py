"""The dense decoder that heads share: maps over the input, of its embeddings and of its pixels.

SAM's image embeddings have one vector for 16 x 16 pixels of the input: they know what is where, and
not where it ends. So the pixels come in a second time, through a small convolutional stem (strides 2,
4, 8, 16), which the embeddings join at the bottom and the family's finer maps on the way up, as in a
U-Net (arXiv 1505.04597). Maps come out at half of the input's resolution.

Most of the work is done at strides 4 and more, where a convolution is wide and quick; from stride 4 to
2 channels become pixels (arXiv 1609.05158), and what the stem saw there is added.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samtune.types import Features

# Cells of the maps are so many pixels of the input.
STRIDE = 2
_WIDTHS = (16, 64, 96, 128)
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
        finest, *wider = _WIDTHS
        self.stem = nn.ModuleList([_convolution(3, finest, 2)])
        self.stem += [
            _block(before, after, 2)
            for before, after in zip(_WIDTHS[:-1], wider, strict=True)
        ]  # fmt: skip
        self.join = nn.Conv2d(encoded.channels, wider[-1], 1)
        self.details = nn.ModuleList(
            nn.Conv2d(channels, own, 1)
            for channels, own in zip(encoded.details, wider, strict=False)
        )
        self.bottom = _block(2 * wider[-1], wider[-1])
        self.up = nn.ModuleList(
            _block(below + own, own) for below, own in zip(wider[:0:-1], wider[-2::-1], strict=True)
        )
        self.to_pixels = nn.Conv2d(wider[0], 4 * finest, 1)
        self.finest = _convolution(finest, finest)
        self.last = nn.Conv2d(finest, num_maps, 1)
        # several times as fast on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixel_values: Tensor, features: Features) -> Tensor:
        seen: list[Tensor] = []
        values = pixel_values.contiguous(memory_format=torch.channels_last)
        for step in self.stem:
            values = step(values)
            seen.append(values)
        joined = F.interpolate(self.join(features.main), values.shape[-2:], mode="bilinear")
        values = self.bottom(torch.cat([seen.pop(), joined], 1))
        for block in self.up:
            own = seen.pop()
            if 0 <= (level := len(seen) - 1) < len(self.details):  # the finest is of stride 4
                detail = self.details[level](features.details[level])
                own = own + F.interpolate(detail, own.shape[-2:], mode="bilinear")
            values = block(torch.cat([F.interpolate(values, own.shape[-2:]), own], 1))
        values = F.pixel_shuffle(self.to_pixels(values), 2) + seen.pop()
        answer: Tensor = self.last(self.finest(values))
        return answer


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        nn.GroupNorm(_GROUPS, after),
        nn.ReLU(True),
    )


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """A change of size or width, then a look around; one normalisation is enough for both."""
    around = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1), nn.ReLU(True))
    return nn.Sequential(_convolution(before, after, stride), around)
