"""TinyViT (arXiv 2207.10666), the encoder of MobileSAM, in plain torch.

A stem, two blocks of convolutions, and three stages of attention within windows; a merging block
between stages halves the map, but for the last one, so that the embeddings are S/16 wide as SAM's. All
blocks stand in one row and take and give maps (B, C, h, w). Statistics of the batch normalisations stay
those of the pretraining: fine-tuning sees too few images at a time to have better ones, and no image
may change what is said of another.
"""

from functools import lru_cache
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamVisionEncoderOutput, SamVisionNeck

EXPANSION = 4
# In the convolutional blocks and between stages
_KERNEL = 3


class FrozenStatistics(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the pretraining, in training too."""

    def forward(self, values: Tensor) -> Tensor:
        return F.batch_norm(
            values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class ConvNorm(nn.Sequential):
    """A convolution without bias and its normalisation, under the official names `c` and `bn`."""

    def __init__(
        self, inner: int, outer: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        conv = nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.add_module("c", conv)
        self.add_module("bn", FrozenStatistics(outer))


class Stem(nn.Module):
    """(B, 3, S, S) -> (B, C, S/4, S/4)."""

    def __init__(self, num_channels: int, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(num_channels, width // 2, _KERNEL, 2), nn.GELU(),
            ConvNorm(width // 2, width, _KERNEL, 2),
        )  # fmt: skip

    def forward(self, values: Tensor) -> Tensor:
        answer: Tensor = self.seq(values)
        return answer


class ConvBlock(nn.Module):
    """An inverted bottleneck (MobileNet V2) with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, _KERNEL, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, values: Tensor) -> Tensor:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(values))))
        return F.gelu(values + self.conv3(hidden))


class Merging(nn.Module):
    """From one stage to the next: other channels, and every other row and column with `stride` 2."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inner, outer)
        self.conv2 = ConvNorm(outer, outer, _KERNEL, stride, groups=outer)
        self.conv3 = ConvNorm(outer, outer)

    def forward(self, values: Tensor) -> Tensor:
        answer: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(values)))))
        return answer


class WindowAttention(nn.Module):
    """Attention within a window, with a learnt bias for each distance of rows and columns."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.head_width, self.window = heads, width // heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, values: Tensor) -> Tensor:
        """(N, window^2, C) -> the same."""
        split = self.qkv(self.norm(values)).unflatten(-1, (self.heads, 3 * self.head_width))
        query, key, value = split.transpose(1, 2).chunk(3, -1)
        index = torch.tensor(_distances(self.window), device=query.device)
        bias = self.attention_biases[:, index.view(self.window**2, -1)].to(query.dtype)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        answer: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return answer


@lru_cache
def _distances(window: int) -> list[int]:
    """Number of each pair's distance, `rows * window + columns`, places against places.

    Not as a tensor: one that is made within inference mode would be of no use outside.
    """
    places = list(product(range(window), repeat=2))
    return [abs(a - c) * window + abs(b - d) for a, b in places for c, d in places]


class Mlp(nn.Module):
    """Two linear layers at each place, normalised before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, values: Tensor) -> Tensor:
        answer: Tensor = self.fc2(F.gelu(self.fc1(self.norm(values))))
        return answer


class AttentionBlock(nn.Module):
    """Window attention, a convolution over the neighbours, and an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, _KERNEL, groups=width)
        self.mlp = Mlp(width)

    def forward(self, values: Tensor) -> Tensor:
        values = values + self._attend(values)
        values = self.local_conv(values)
        places = values.permute(0, 2, 3, 1)
        answer: Tensor = (places + self.mlp(places)).permute(0, 3, 1, 2)
        return answer

    def _attend(self, values: Tensor) -> Tensor:
        """Cut (B, C, h, w) into windows, padded right and below, and put them together again."""
        side, (batch, width, height, breadth) = self.window, values.shape
        padded = F.pad(values, (0, -breadth % side, 0, -height % side))
        rows, columns = padded.shape[2] // side, padded.shape[3] // side
        windows = padded.view(batch, width, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        found = self.attn(windows.reshape(-1, side * side, width))
        found = found.view(batch, rows, columns, side, side, width).permute(0, 5, 1, 3, 2, 4)
        answer: Tensor = found.reshape(padded.shape)[..., :height, :breadth]
        return answer


class TinyViT(nn.Module):
    """MobileSAM's encoder: (B, 3, S, S) -> (B, C, S/16, S/16).

    Args:
        config: its `num_channels` of the image; `widths` and `depths` of the four stages, the first of
            which is convolutional; `heads` and `windows` of the others (the first entry is not used);
            `hidden_size` and `output_channels` of the neck.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        widths = config.widths
        self.patch_embed = Stem(config.num_channels, widths[0])
        blocks: list[nn.Module] = []
        for stage, depth in enumerate(config.depths):
            if stage:
                is_last = stage == len(widths) - 1
                blocks.append(Merging(widths[stage - 1], widths[stage], 1 if is_last else 2))
            for _ in range(depth):
                blocks.append(
                    AttentionBlock(widths[stage], config.heads[stage], config.windows[stage])
                    if stage
                    else ConvBlock(widths[0])
                )
        self.blocks = nn.ModuleList(blocks)
        self.neck = SamVisionNeck(config)

    def get_input_embeddings(self) -> nn.Module:
        """transformers and PEFT ask for what takes the pixels."""
        return self.patch_embed

    def forward(self, pixel_values: Tensor, **_: Any) -> SamVisionEncoderOutput:
        """As transformers' encoders, also what a processor says of the image besides."""
        hidden = self.patch_embed(pixel_values)
        for block in self.blocks:
            hidden = block(hidden)
        return SamVisionEncoderOutput(last_hidden_state=self.neck(hidden.permute(0, 2, 3, 1)))
