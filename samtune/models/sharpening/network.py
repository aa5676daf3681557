"""The sharpener: a small U-Net that draws the edge of a mask where the pixels have it.

SAM draws masks in cells, of embeddings of whole patches of the input: it knows what is where, and not
where it ends. What a domain's edges look like is learned from few images; so an object that SAM has
found is looked at once more, in a crop of the image itself. The network sees pixels, prompt and SAM's
logits, and answers with logits of its own. It is a U-Net (arXiv 1505.04597) on blocks of 2 x 2 cells,
which become channels and again cells (arXiv 1609.05158): most of the work is done where it is quick.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samtune.models.sharpening.crops import CELLS, CHANNELS, RATIO

_WIDTHS = (32, 64, 64)
# A block of cells is a place of the network
_BLOCK = 2
_GROUPS = 8
# Added to each direction of the features, over the mean of their variances
_LEAST_VARIANCE = 0.01
# Places of channels
_BOX, _CLICKS, _LOGITS = 3, 4, 5
# From how far above `agreement` on an answer is used whole
TRUSTED = 0.2


@dataclass(frozen=True)
class SharpenerSettings:
    """How a sharpener looks at objects.

    Attributes:
        cells: of a crop along a side.
        ratio: side of a crop over the longer side of the object.
        widths: channels of the network, finest first.
        amount: share of its answer in the mask's logits, 0 to 1; the rest is what they were.
        agreement: IoU with the mask as it was below which an answer is not used, and from `TRUSTED`
            above which it is used whole: what differs more is another object, and no sharper edge. 0
            for one that knows its domain. A box that was corrected by clicks says what is meant, and
            answers to it are used whatever the mask was.
    """

    cells: int = CELLS
    ratio: float = RATIO
    widths: tuple[int, ...] = _WIDTHS
    amount: float = 1.0
    agreement: float = 0.0


class Sharpener(nn.Module):
    """Draws masks in crops, and knows which crops are unlike those that it was trained on.

    What is unlike is told by the distance of its own features from those of training (Mahalanobis' in
    the features of a network, arXiv 1807.03888).
    """

    # of features of training: their mean, and what makes their covariance 1
    mean: Tensor
    whitening: Tensor
    # the distance up to which crops are like them; 0 takes all for that
    limit: Tensor

    def __init__(self, settings: SharpenerSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or SharpenerSettings()
        widths = self.settings.widths
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = CHANNELS * _BLOCK**2
        for width in widths:
            self.down.append(_twice(before, width))
            before = width
        for width in reversed(widths[:-1]):
            self.up.append(_twice(before + width, width))
            before = width
        self.last = nn.Conv2d(before, _BLOCK**2, 1)
        size = sum(widths)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("whitening", torch.zeros(size, size))
        self.register_buffer("limit", torch.zeros(()))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (K, cells, cells) and features (K, F) of what `inputs_of` makes of crops.

        Args:
            inputs: (K, 6, cells, cells).
        """
        # as far from 0 as they are sure, they would drown the pixels
        seen = torch.cat([inputs[:, :-1], inputs[:, -1:].sigmoid()], 1)
        x = F.pixel_unshuffle(seen, _BLOCK).contiguous(memory_format=torch.channels_last)
        kept: list[Tensor] = []
        for number, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if number else x)
            kept.append(x)
        for block, finer in zip(self.up, reversed(kept[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), finer], 1))
        features = torch.cat([each.mean((2, 3)) for each in kept], 1)
        return F.pixel_shuffle(self.last(x), _BLOCK)[:, 0], features

    def distance(self, features: Tensor) -> Tensor:
        """(K,) from the crops of training: about 1 for these."""
        # in half precision the network's buffers are half too
        away = (features.float() - self.mean.float()) @ self.whitening.float()
        return (away**2).mean(1)

    def share(self, inputs: Tensor, features: Tensor, answers: Tensor) -> Tensor:
        """(K,) how much of its answer a crop gets: all up to the limit, nothing from twice that on.

        Args:
            inputs: (K, 6, cells, cells), see `forward`.
            features: (K, F) of them.
            answers: (K, cells, cells) logits.
        """
        share = torch.full((len(features),), self.settings.amount, device=features.device)
        if self.limit > 0:
            share = share * (2 - self.distance(features) / self.limit).clamp(0, 1)
        if self.settings.agreement > 0:
            one, other = answers > 0, inputs[:, _LOGITS] > 0
            both, either = (each.sum((1, 2)).float() for each in (one & other, one | other))
            overlap = both / either.clamp(min=1)
            trust = ((overlap - self.settings.agreement) / TRUSTED).clamp(0, 1)
            is_corrected = (inputs[:, [_BOX, _CLICKS]] != 0).any(3).any(2).all(1)
            share = share * torch.where(is_corrected, 1.0, trust)
        return share

    @torch.no_grad()
    def get_used_to(self, features: Tensor) -> None:
        """Take features (N, F) for those of training."""
        values = features.double()
        covariance = torch.cov(values.T)
        size = len(covariance)
        # what hardly varies in so many crops may do so in others
        covariance += _LEAST_VARIANCE * covariance.trace() / size * torch.eye(size).to(covariance)
        self.mean.copy_(values.mean(0))
        self.whitening.copy_(torch.linalg.cholesky(torch.linalg.inv(covariance)))


def _twice(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1), nn.GroupNorm(_GROUPS, after), nn.ReLU()]
    return nn.Sequential(*layers)
