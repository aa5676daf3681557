"""A warm-up of the encoder alone: every place of an image learns how far its object reaches.

An encoder that starts from nothing learns little through the decoder, which soon finds that the
ellipse in a box is a good guess and no longer looks at the image. SAM's own encoder came pretrained
(arXiv 2304.02643, appendix A); this is the warm-up that exact masks allow. A linear layer reads off
the image embeddings, for each cell, whether it lies in an object, whether on an edge, and the
distances to the left, top, right and bottom end of its object, as FCOS does (arXiv 1904.01355).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Cells of the targets along each side of one cell of the image embeddings.
_CELLS = 4
_NUM_MAPS = 6
EXTENT_WEIGHT = 4.0
# Logits and distances of an average place in the drawn pictures
_USUAL = (-1.0, -2.6, 0.44, 0.44, 0.44, 0.44)


class ExtentHead(nn.Module):
    """Reads (B, 6, 4h, 4w) maps off image embeddings (B, C, h, w)."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.read = nn.Conv2d(num_channels, _NUM_MAPS * _CELLS**2, 1)
        # Starts with the answer that needs no image: an encoder that first has to learn constants
        # gives up its differences between places for them.
        nn.init.zeros_(self.read.weight)
        usual = torch.tensor(_USUAL).repeat_interleave(_CELLS**2)
        self.read.bias = nn.Parameter(usual)

    def forward(self, image_embeddings: Tensor) -> Tensor:
        # What is the same at all places of an image tells nothing of an object; left in, it grows
        # with every step until the places look alike.
        differing = image_embeddings - image_embeddings.mean((-2, -1), keepdim=True)
        return F.pixel_shuffle(self.read(differing), _CELLS)


def extent_targets(targets: Tensor, image_index: Tensor, num_images: int) -> Tensor:
    """Maps (B, 6, T, T): in an object, on an edge, and four distances.

    Where objects overlap, the smallest one counts: parts lie on wholes. Distances are square roots
    of shares of the picture's side, so that small objects weigh as much as large ones.

    Args:
        targets: (K, T, T) uint8 shares of each cell, times 255.
        image_index: (K,) the image of each object.
        num_images: B.
    """
    side = targets.shape[-1]
    maps = torch.zeros(num_images, _NUM_MAPS, side, side)
    owner = torch.zeros(num_images, side, side, dtype=torch.int64)
    covers = (targets > 127).cpu()
    places = torch.arange(side)
    for number in covers.sum((1, 2)).argsort(descending=True).tolist():
        mask, image = covers[number], int(image_index[number])
        if not mask.any():
            continue
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        left, right = places - columns[0], columns[-1] - places
        top, bottom = places - rows[0], rows[-1] - places
        reach = torch.stack([
            left.expand(side, side), top[:, None].expand(side, side),
            right.expand(side, side), bottom[:, None].expand(side, side),
        ])  # fmt: skip
        maps[image, 2:, mask] = ((reach[:, mask] + 0.5) / side).sqrt()
        maps[image, 0, mask] = 1
        owner[image, mask] = number + 1
    maps[:, 1] = _edges(owner)
    return maps.to(targets.device)


def _edges(owner: Tensor) -> Tensor:
    """Cells (B, T, T) whose right or lower neighbour belongs to another object."""
    edges = torch.zeros_like(owner, dtype=torch.float32)
    edges[:, :, :-1] += owner[:, :, :-1] != owner[:, :, 1:]
    edges[:, :-1] += owner[:, :-1] != owner[:, 1:]
    return edges.clamp(max=1)


def extent_loss(maps: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy for object and edge, L1 for the distances where there is an object.

    Args:
        maps: (B, 6, h, w) as `ExtentHead` reads them.
        targets: (B, 6, T, T) as `extent_targets` gives them.
        valid: (B, T, T) bool, False on the padding.
    """
    maps = maps.float()
    if maps.shape[-2:] != targets.shape[-2:]:
        maps = F.interpolate(maps, targets.shape[-2:], mode="bilinear", align_corners=False)
    inside = valid.float()
    kinds = F.binary_cross_entropy_with_logits(maps[:, :2], targets[:, :2], reduction="none")
    kinds = (kinds.sum(1) * inside).sum() / inside.sum().clamp(min=1)
    covered = targets[:, 0] * inside
    error = (maps[:, 2:] - targets[:, 2:]).abs().mean(1)
    return kinds + EXTENT_WEIGHT * (error * covered).sum() / covered.sum().clamp(min=1)
