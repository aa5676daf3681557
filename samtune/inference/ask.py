"""`ask`: prompts become the mask that a user gets. Nobody else decides what that is.

How many candidates there are is as the model was trained (`Sam.with_multimask`): a single point, box or
mask is ambiguous, anything else is answered once. Of several candidates the one counts that the model
itself rates best. Scores are calibrated where the model comes with a calibration, and an answer of NaN
is refused: its masks would be empty, or worse, not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.prompts.packing import group_by_signature, pack
from samtune.types import Features, MaskPrediction, Prompt

# Prompts that are decoded together
_PROMPTS = 64


@dataclass(frozen=True)
class Answer:
    """What a model says to K prompts of one signature.

    Attributes:
        indices: (K,) which of the prompts that were asked.
        candidates: all M masks, with the IoU that the head says of each, not calibrated.
        best: (K,) the candidate that counts.
        scores: (K,) the IoU that is expected of it, calibrated if asked so.
    """

    indices: list[int]
    candidates: MaskPrediction
    best: Tensor
    scores: Tensor

    @property
    def logits(self) -> Tensor:
        """(K, h, w) of the masks that count, input frame."""
        rows = torch.arange(len(self.best), device=self.best.device)
        return self.candidates.low_res_logits[rows, self.best]

    def rows(self, numbers: list[int]) -> "Answer":
        """The answers to some of the prompts."""
        found = self.candidates
        objects = found.object_logits
        return Answer(
            [self.indices[number] for number in numbers],
            MaskPrediction(
                found.low_res_logits[numbers], found.iou_scores[numbers],
                None if objects is None else objects[numbers],
            ),
            self.best[numbers], self.scores[numbers],
        )  # fmt: skip

    @property
    def has_object(self) -> list[bool]:
        """Whether the model finds an object at all, for each prompt (families that tell; else yes)."""
        found = self.candidates.object_logits
        return [True] * len(self.indices) if found is None else (found > 0).flatten().tolist()


@torch.no_grad()
def ask(
    sam: Sam,
    features: Features,
    prompts: Sequence[Prompt],
    with_multimask: bool | None = None,
    is_calibrated: bool = True,
    is_single: bool | None = None,
) -> Iterator[Answer]:
    """Answer the prompts of one image, signature by signature, a few at a time.

    Args:
        sam: the network.
        features: image embeddings of that image.
        prompts: any number, of any signatures, input frame.
        with_multimask: whether single prompts get three candidates; `None` is as the model was
            trained.
        is_calibrated: scores are calibrated, where the model comes with a calibration.
        is_single: whether the prompts are taken as single ones; `None` looks at each.

    Raises:
        UserError: the model answers with NaN.
    """
    with_multimask = sam.with_multimask if with_multimask is None else with_multimask
    for group in group_by_signature(prompts):
        for start in range(0, len(group), _PROMPTS):
            indices = group[start : start + _PROMPTS]
            packed = pack([prompts[index] for index in indices], sam.device)
            single = prompts[indices[0]].is_single if is_single is None else is_single
            image_index = torch.zeros(len(indices), dtype=torch.int64, device=sam.device)
            found = sam.decode(features, image_index, packed, with_multimask and single)
            require_numbers(found)
            scores, best = found.iou_scores.float().max(dim=1)
            if is_calibrated and sam.calibration is not None:
                scores = sam.calibration(scores)
            yield Answer(indices, found, best, scores)


def require_numbers(found: MaskPrediction) -> None:
    """Refuse an answer that is none.

    Raises:
        UserError: it holds NaN.
    """
    if not torch.isfinite(found.iou_scores).all() or torch.isnan(found.low_res_logits).any():
        raise UserError(
            "the model answers with NaN: its training has diverged (tune again with a lower "
            "learning rate, or without 16-bit precision)"
        )
