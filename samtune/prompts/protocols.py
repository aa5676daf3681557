"""Named ways to prompt: protocols (one kind of prompt) and recipes (what training draws from).

Numbers of the recipes: SAM arXiv 2304.02643 appendix A, SAM 2 arXiv 2408.00714 appendix D, MedSAM
doi 10.1038/s41467-024-44824-z and its repository, micro-sam doi 10.1038/s41592-024-02580-4 and its
repository, SAMed arXiv 2304.13785.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from samtune.errors import UserError
from samtune.prompts.sampling import (
    BoxNoise,
    MaskNoise,
    PointPlacing,
    mask_prompt,
    negative_points,
    object_box,
    positive_points,
)
from samtune.types import Grid, MaskArray, Prompt


@dataclass(frozen=True)
class Protocol:
    """One kind of first prompt, and how many correction clicks follow it in evaluation.

    Attributes:
        name: enters the seed, and the reports.
        num_positive, num_negative: points in and beside the object.
        placing: of the positive points and of the correction clicks.
        box: kind of box, or none.
        box_scale: relative noise of the box.
        mask: kind of mask prompt, or none.
        num_corrections: clicks after the first prompt.
    """

    name: str
    num_positive: int = 0
    num_negative: int = 0
    placing: PointPlacing = "uniform"
    box: BoxNoise | Literal["none"] = "none"
    box_scale: float = 0.1
    mask: MaskNoise | Literal["none"] = "none"
    num_corrections: int = 0

    @property
    def parts(self) -> frozenset[str]:
        """What it prompts with: any of `box`, `points`, `mask`."""
        with_points = self.num_positive or self.num_negative or self.num_corrections
        return frozenset(
            name
            for name, is_there in (
                ("box", self.box != "none"),
                ("points", bool(with_points)),
                ("mask", self.mask != "none"),
            )
            if is_there
        )

    @property
    def is_random(self) -> bool:
        """Whether another seed gives other first prompts."""
        is_placed = self.placing == "centre" and self.num_positive <= 1 and not self.num_negative
        has_points = bool(self.num_positive or self.num_negative)
        return (
            self.box not in ("none", "exact", "grown")
            or self.mask == "noised"
            or (has_points and not is_placed)
        )

    def draw(self, mask: MaskArray, rng: np.random.Generator, mask_grid: Grid) -> Prompt:
        """Draw a prompt for an (H, W) mask with at least one pixel; original frame."""
        prompt = Prompt()
        if self.box != "none":
            prompt.box_xyxy = object_box(mask, self.box, rng, self.box_scale)
        if self.num_positive or self.num_negative:
            inside = positive_points(mask, self.num_positive, self.placing, rng)
            outside = negative_points(mask, self.num_negative, rng)
            prompt.point_coords = np.concatenate([inside, outside])
            prompt.point_labels = np.array([1] * len(inside) + [0] * len(outside), np.int64)
        if self.mask != "none":
            prompt.mask_input = mask_prompt(mask, self.mask, rng, mask_grid)
        return prompt


PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("box", box="exact"),
        Protocol("box_jitter", box="uniform"),
        Protocol("box_gaussian", box="gaussian"),
        Protocol("box_outward", box="outward"),
        Protocol("box_margin", box="margin", box_scale=0.025),
        Protocol("point", num_positive=1, placing="centre"),
        Protocol("point_uniform", num_positive=1),
        Protocol("points_uniform", num_positive=3),
        Protocol("points_mixed", num_positive=2, num_negative=1),
        Protocol("box_point", num_positive=1, box="uniform"),
        Protocol("mask_coarse", mask="coarse"),
        Protocol("mask_noised", mask="noised"),
    )
}
# Kinds with a number in their names: what it stands for, the largest that makes sense, how to make it.
NUMBERED: Mapping[str, tuple[str, int, Callable[[str, int], Protocol]]] = {
    "points_N": (
        "N points in the object, the first at its centre", 100,
        lambda name, n: Protocol(name, num_positive=n, placing="centre"),
    ),
    "clicks_N": (
        "N clicks, the first at the centre, the others where the mask is wrong", 100,
        lambda name, n: Protocol(name, num_positive=1, placing="centre", num_corrections=n - 1),
    ),
    "box_clicks_N": (
        "a box, then N clicks where the mask is wrong", 100,
        lambda name, n: Protocol(name, placing="centre", box="exact", num_corrections=n),
    ),
    "box_jitter_N": (
        "a box whose sides are moved by up to N % of its own", 100,
        lambda name, n: Protocol(name, box="relative", box_scale=n / 100),
    ),
    "box_outward_N": (
        "a box grown by N pixels on every side", 10_000,
        lambda name, n: Protocol(name, box="grown", box_scale=n),
    ),
}  # fmt: skip
# Beside the names of protocols: several at once.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "robustness": (
        "box", "box_jitter_5", "box_jitter_10", "box_jitter_20", "box_outward_5", "box_outward_20",
    ),
    "interactive": ("clicks_10",),
}  # fmt: skip
EVALUATION_PROTOCOLS = ("box", "box_jitter", "point", "points_3", "clicks_5")

IouLoss = Literal["mse", "l1"]
PixelLoss = Literal["focal", "bce", "balanced_bce"]


@dataclass(frozen=True)
class Recipe:
    """What training simulates, and how its loss is weighed.

    Attributes:
        first: protocol -> probability of being an object's first prompt.
        num_corrections: rounds that add a click from the error region, with the previous best mask
            as mask prompt.
        num_refinements: rounds with the mask prompt and no new click; one falls at a random place
            among the corrections, the rest at the end.
        correction_from_truth: probability that a click comes from the truth instead.
        with_pairs: a correction is two clicks: one in what was missed, one in what was wrongly taken.
        mask_share: of the objects that a round hands their previous mask to, as mask prompt.
        with_multimask: a single prompt is answered by three masks, the best of which is trained.
        max_objects: per image, drawn anew each epoch.
        max_cover: objects that cover more of the image are left out.
        min_area: objects of fewer pixels are left out, whatever the data's own limit.
        pixel_loss: `focal` (alpha 0.25, gamma 2) or `bce`.
        pixel, dice, iou: weights of the losses.
        chosen: share of the mask loss that goes to the mask which the network itself thinks best, the
            one that a user gets; the rest goes to the best of three, as in SAM.
        general: weight of the loss on general pictures, where the base's answers are the target.
        iou_loss: of the IoU head.
        is_iou_of_all: the IoU head is trained on all masks, not only the best.
    """

    name: str
    first: Mapping[str, float]
    num_corrections: int = 0
    num_refinements: int = 0
    correction_from_truth: float = 0.0
    with_pairs: bool = False
    mask_share: float = 1.0
    with_multimask: bool = True
    max_objects: int = 64
    max_cover: float = 0.9
    min_area: int = 0
    pixel_loss: PixelLoss = "focal"
    pixel: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    chosen: float = 0.0
    general: float = 0.0
    iou_loss: IouLoss = "mse"
    is_iou_of_all: bool = True

    def draw_protocol(self, rng: np.random.Generator) -> Protocol:
        """Choose the first prompt's protocol."""
        names = list(self.first)
        weights = np.array([self.first[name] for name in names])
        return PROTOCOLS[names[int(rng.choice(len(names), p=weights / weights.sum()))]]


_HALF = {"point_uniform": 0.5, "box_gaussian": 0.5}
_MIXED = {
    "point_uniform": 0.35,
    "box_jitter": 0.3,
    "box_outward": 0.1,
    "points_uniform": 0.05,
    "points_mixed": 0.05,
    "box_point": 0.05,
    "mask_coarse": 0.05,
    "mask_noised": 0.05,
}
# MedSAM and SAMed leave the IoU head alone; trained along, its scores stay worth something. SAMed has
# no prompts at all: here it gets SAM's, since a model that nobody can point with cannot be compared.
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "mixed", _MIXED, max_objects=8,
            pixel_loss="bce", pixel=2.0, chosen=0.5, general=2.0,
        ),
        Recipe("sam", _HALF, num_corrections=8, num_refinements=2),
        Recipe(
            "sam2", {"point_uniform": 0.5, "box_jitter": 0.5}, num_corrections=7,
            correction_from_truth=0.1, iou_loss="l1",
        ),
        Recipe(
            "medsam", {"box_outward": 1.0}, with_multimask=False, max_objects=1,
            max_cover=1.0, min_area=100, pixel_loss="bce", pixel=1.0,
        ),
        Recipe(
            "micro_sam", {"point_uniform": 0.5, "box_margin": 0.5}, num_corrections=7,
            with_pairs=True, mask_share=0.5, max_objects=25, pixel=0.0,
        ),
        Recipe("samed", _HALF, with_multimask=False, pixel_loss="bce", pixel=0.2, dice=0.8),
        Recipe("points", {"point_uniform": 0.8, "points_mixed": 0.2}, num_corrections=2),
        Recipe(
            "boxes", {"box": 0.2, "box_jitter": 0.6, "box_outward": 0.2}, with_multimask=False
        ),
    )
}  # fmt: skip


def find_protocols(names: list[str] | tuple[str, ...]) -> list[Protocol]:
    """Look protocols up by name, each once; a group stands for its members.

    Raises:
        UserError: a name is unknown.
    """
    single = [member for name in names for member in GROUPS.get(name, (name,))]
    return [_find_protocol(name) for name in dict.fromkeys(single)]


def _find_protocol(name: str) -> Protocol:
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    match = re.fullmatch(r"(.*_)([1-9]\d{0,5})", name)
    kind = NUMBERED.get(f"{match[1]}N") if match else None
    if match and kind and int(match[2]) <= kind[1]:
        return kind[2](name, int(match[2]))
    known = ", ".join((*PROTOCOLS, *NUMBERED, *GROUPS))
    raise UserError(f"unknown protocol '{name}': choose from {known} (N: a number)")


def trained_parts(recipe: Recipe) -> frozenset[str]:
    """What a recipe prompts with: any of `box`, `points`, `mask`."""
    parts = frozenset[str]().union(*(PROTOCOLS[name].parts for name in recipe.first))
    return parts | {"points"} if recipe.num_corrections else parts
