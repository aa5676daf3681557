"""What keeps a network near its base: drawn pictures on which the base's own answers are the target.

Tuning on one kind of images forgets others, the faster the longer it takes. One general picture for
every few images of the domain holds what the base could do (learning without forgetting,
arXiv 1606.09282, with pictures that need no labels because nothing but the base is asked).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from samtune.data.dataset import PromptedDataset
from samtune.data.features import FeatureStore
from samtune.data.loader import collate
from samtune.models.backend import Sam
from samtune.prompts.packing import decode_groups
from samtune.prompts.seeding import object_rng
from samtune.training.encoding import encode_batch
from samtune.training.losses import masked_mean
from samtune.types import Batch, MaskPrediction, Prompts

# One general picture for so many images of the domain
IMAGES_EACH = 8
# Weight of a pixel's loss beside that of the overlap, as in the recipe that is used with it
_PIXEL = 2.0


class GeneralPictures:
    """Asks a network in training and its base the same questions.

    Args:
        dataset: general pictures with first prompts.
        base: what the network in training is held to; it answers as in use.
        batch_size: images of the domain in a step: with fewer than `IMAGES_EACH` not every step has
            a general picture, and those that have one weigh more.
        seed: of the order.
        rank: which of several training processes this one is; each has pictures of its own.
        store: where features are kept, if they are.
    """

    def __init__(
        self, dataset: PromptedDataset, base: Sam, batch_size: int, seed: int, rank: int = 0,
        store: FeatureStore | None = None,
    ) -> None:  # fmt: skip
        self.dataset, self.base, self.store = dataset, base, store
        self.seed, self.rank = seed, rank
        self.every = max(1, -(-IMAGES_EACH // batch_size))
        self.num_each = max(1, batch_size // IMAGES_EACH)

    def is_due(self, number: int) -> bool:
        """Whether this batch of an epoch has a general picture."""
        return number % self.every == 0

    def loss(self, sam: Sam, place: tuple[int, int]) -> Tensor | None:
        """How far a network in training is from its base; `None` where nothing can be asked.

        Args:
            sam: the network in training.
            place: epoch and batch, which fix what is asked: a resumed run repeats it.
        """
        batch = self._draw(place).to(sam.device)
        if not batch.keys:
            return None
        with torch.no_grad():
            wanted = self._ask(self.base, batch)
        found = self._ask(sam, batch)
        valid = batch.valid.float()[batch.image_index]
        total = torch.stack([
            distance(its, base, valid[indices]).sum()
            for (indices, its), (_, base) in zip(found, wanted, strict=True)
        ])  # fmt: skip
        return self.every * total.sum() / len(batch.keys)

    def _draw(self, place: tuple[int, int]) -> Batch:
        rng = object_rng(self.seed, "general", *place, self.rank)
        numbers = rng.integers(len(self.dataset), size=self.num_each).tolist()
        batch = collate([self.dataset[number, place[0]] for number in numbers], self.seed)
        assert isinstance(batch, Batch), "drawn pictures are always read"
        return batch

    def _ask(self, sam: Sam, batch: Batch) -> list[tuple[Tensor, MaskPrediction]]:
        features = encode_batch(sam, batch, self.store)

        def decode(indices: Tensor, prompts: Prompts, is_multimask: bool) -> MaskPrediction:
            return sam.decode(features, batch.image_index[indices], prompts, is_multimask, 0)

        return decode_groups(decode, batch.prompts["first"], sam.with_multimask, sam.device)


def distance(found: MaskPrediction, wanted: MaskPrediction, valid: Tensor) -> Tensor:
    """Of answers from those of the base: (K,), 0 where they are equal.

    Cross-entropy over what it is at least, one minus soft Dice, and the squared error of the predicted
    IoU; the mean over the masks of each of K objects.

    Args:
        found: M masks for each object, with gradient.
        wanted: the base's.
        valid: (K, T, T), 0 on the padding.
    """
    logits, target = found.low_res_logits.float(), wanted.low_res_logits.float().sigmoid()
    inside = F.interpolate(valid[:, None], logits.shape[-2:], mode="nearest").expand_as(logits)
    entropy = F.binary_cross_entropy(target, target, reduction="none")
    above = F.binary_cross_entropy_with_logits(logits, target, reduction="none") - entropy
    shares, target = logits.sigmoid() * inside, target * inside
    overlap, size = (shares * target).sum((-2, -1)), (shares**2 + target**2).sum((-2, -1))
    error = (found.iou_scores.float() - wanted.iou_scores.float()) ** 2
    return (_PIXEL * masked_mean(above, inside) + 1 - (2 * overlap + 1) / (size + 1) + error).mean(
        1
    )
