"""Scores of a validation pass: mIoU over objects, by protocol.

They are taken on the targets' grid (the padded input, 256 x 256), where they are quick and good
enough to choose a checkpoint by; `samtune evaluate` measures at the original resolution.
"""

from collections import defaultdict

import torch
import torch.nn.functional as F
from torch import Tensor

from samtune.data.features import FeatureStore
from samtune.models.backend import Sam
from samtune.prompts.packing import best_by_score, decode_groups
from samtune.training.encoding import encode_batch
from samtune.training.losses import measured_iou
from samtune.types import Batch, MaskPrediction, Prompts


class ValidationScores:
    """Sums of IoU by protocol over the batches of one pass, gathered over processes at its end."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(2, dtype=torch.float64))

    def add(self, ious: dict[str, Tensor]) -> None:
        for name, values in ious.items():
            self._sums[name] += torch.tensor([values.sum().item(), len(values)])

    def clear(self) -> None:
        self._sums.clear()

    def compute(self) -> dict[str, float]:
        """`{protocol}_miou` for each, and `miou`, their mean; empty without objects."""
        gathered = [{name: total.tolist() for name, total in self._sums.items()}]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # as objects: a process that saw no object knows no protocol's name
            gathered *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, gathered[0])
        scores = {}
        for name in sorted({name for part in gathered for name in part}):
            parts = [part[name] for part in gathered if name in part]
            scores[f"{name}_miou"] = sum(p[0] for p in parts) / sum(p[1] for p in parts)
        if scores:
            scores["miou"] = sum(scores.values()) / len(scores)
        return scores


@torch.no_grad()
def score_batch(
    sam: Sam, batch: Batch, objects_per_chunk: int, store: FeatureStore | None = None
) -> dict[str, Tensor]:
    """IoU (K,) of each object for each protocol of the batch, best mask by predicted IoU."""
    features = encode_batch(sam, batch, store)
    targets, valid = batch.targets.float() / 255, batch.valid.float()
    side = targets.shape[-2:]

    def decode(indices: Tensor, packed: Prompts, is_multimask: bool) -> MaskPrediction:
        image_index = batch.image_index[indices]
        return sam.decode(features, image_index, packed, is_multimask, objects_per_chunk)

    scores = {}
    for name, prompts in batch.prompts.items():
        ious = torch.zeros(len(prompts), device=targets.device)
        for indices, prediction in decode_groups(
            decode, prompts, sam.with_multimask, targets.device
        ):
            logits, _ = best_by_score(prediction)
            full = F.interpolate(
                logits[:, None].float(), side, mode="bilinear", align_corners=False
            )[:, 0]
            ious[indices] = measured_iou(full, targets[indices], valid[batch.image_index[indices]])
        scores[name] = ious
    return scores
