"""Whether what was written answers as the model it was made from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.lora import merge
from samtune.types import Prompts


@torch.no_grad()
def sample_answers(sam: Sam) -> list[Tensor]:
    """Logits and scores for a drawn input: a box, two points, a point with a mask."""
    generator = torch.Generator().manual_seed(0)
    side = sam.image_size
    pixels = torch.randn(1, 3, side, side, generator=generator).to(sam.device)
    mask = 4 * torch.randn(1, 1, sam.mask_side, sam.mask_side, generator=generator)
    point = torch.tensor([[[0.4, 0.5]]]) * side
    prompts = [
        Prompts(boxes_xyxy=torch.tensor([[0.2, 0.3, 0.7, 0.8]]) * side),
        Prompts(torch.tensor([[[0.3, 0.3], [0.8, 0.6]]]) * side, torch.tensor([[1, 0]])),
        Prompts(point, torch.tensor([[1]]), None, mask),
    ]
    features, first = sam.encode(pixels), torch.zeros(1, dtype=torch.int64, device=sam.device)
    answers = [sam.decode(features, first, each, multimask_output=True) for each in prompts]
    return [part for each in answers for part in (each.low_res_logits, each.iou_scores)]


def merge_checked(sam: Sam) -> tuple[list[Tensor], str]:
    """Fold the adapter into the weights; what it answers then, and how far that is from before.

    Raises:
        UserError: further than rounding explains.
    """
    tuned = sample_answers(sam)
    if not sam.is_adapted:
        return tuned, "all weights are as they were: nothing had to be merged"
    merge(sam)
    merged = sample_answers(sam)
    return merged, require_equal("adapter merged, against apart", merged, tuned, 1e-3)


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Between any two numbers; not a number where there is none."""
    differences = [(a - b).abs().max() for a, b in zip(found, expected, strict=True)]
    return float(torch.stack(differences).max())  # Python's max would pass over nan


def require_equal(
    what: str, found: Sequence[Tensor], expected: Sequence[Tensor], bound: float
) -> str:
    """Say how far answers lie apart.

    Raises:
        UserError: further than `bound`.
    """
    difference = largest_difference(found, expected)
    if not difference <= bound:
        raise UserError(
            f"{what}: the answers differ by {difference:.1e}, more than {bound:.0e}; nothing was "
            "written (weights that are not finite, or a defect of samtune's: please report it)"
        )
    return f"{what}: largest difference {difference:.1e} (bound {bound:.0e})"
