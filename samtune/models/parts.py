"""A network's three parts as users of segment_anything call them: `sam.image_encoder`, ...

They are views: weights, devices and modes are the network's own, and so is whatever else is asked of
them (`parameters()`, `train()`, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from samtune.errors import UserError
from samtune.types import Features, Prompts

if TYPE_CHECKING:
    from samtune.models.backend import Sam


class _Part:
    """A view of a part of a network."""

    def __init__(self, sam: Sam, module: nn.Module) -> None:
        self._sam, self._module = sam, module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class ImageEncoder(_Part):
    """Preprocessed pixel values (B, 3, S, S) -> image embeddings (B, C, S/16, S/16)."""

    @property
    def img_size(self) -> int:
        """Side S of the square input."""
        return self._sam.image_size

    def __call__(self, x: Tensor) -> Tensor:
        return self._sam.encode(x).main


class PromptEncoder(_Part):
    """Prompts in the input frame -> sparse (K, N, C) and dense (K, C, S/16, S/16) embeddings."""

    @property
    def embed_dim(self) -> int:
        """Channels C."""
        return self._sam.num_channels

    @property
    def input_image_size(self) -> tuple[int, int]:
        """Sides of the square input."""
        return self._sam.image_size, self._sam.image_size

    @property
    def image_embedding_size(self) -> tuple[int, int]:
        """Sides of the image embeddings."""
        return self._sam.family.grid, self._sam.family.grid

    @property
    def mask_input_size(self) -> tuple[int, int]:
        """Sides of a mask prompt."""
        return self._sam.mask_side, self._sam.mask_side

    def get_dense_pe(self) -> Tensor:
        """Positional encoding of the image embeddings, (1, C, S/16, S/16)."""
        places: Tensor = self._sam.core.get_image_wide_positional_embeddings()
        return places

    def __call__(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        coords, labels = points if points is not None else (None, None)
        prompts = Prompts(coords, labels, boxes, masks)
        prompts.require_one_number()
        sparse, dense = self._sam.embed_prompts(prompts)
        return sparse, dense.expand(len(sparse), -1, -1, -1)


class MaskDecoder(_Part):
    """Embeddings of one image and of K prompts -> logits (K, M, h, w) and predicted IoU (K, M)."""

    def __call__(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        family = self._sam.family
        if family.detail_names:
            raise UserError(
                f"the decoder of {family.name} takes more of the image than its embeddings: call "
                "sam.decode with what sam.encode gives"
            )
        with torch.autocast(self._sam.device.type, enabled=False):
            places = image_pe[0].flatten(1).T
        answer = family.decode(
            family.ready(Features(image_embeddings)), sparse_prompt_embeddings.to(self._sam.dtype),
            dense_prompt_embeddings.to(self._sam.dtype), places.to(self._sam.dtype), multimask_output,
        )  # fmt: skip
        return answer.low_res_logits, answer.iou_scores
