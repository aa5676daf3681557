"""What samtune asks of a family of networks: how an image is encoded step by step, how masks are read.

A family is transformers' network seen through this face. The encoder is a row of blocks, so that
blocks that nobody trains can be computed once and kept, and so that each block can be computed again
in the backward pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from samtune.models.decoder import two_way
from samtune.types import Features, InputFrame, MaskPrediction


class Family(ABC):
    """One kind of network.

    Args:
        core: transformers' network, with adapter layers in place if there are any.

    Attributes:
        name: as in the registry.
        model_types: `model_type` of a transformers folder that holds such a network.
        blocks_path: where the encoder's blocks are, as a regular expression.
        lora_layers: setting -> regular expression of the layers of a block that get LoRA.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    blocks_path: ClassVar[str]
    lora_layers: ClassVar[Mapping[str, str]]

    def __init__(self, core: Any) -> None:
        self.core = core

    def prepare(self) -> None:  # noqa: B027 (most families need nothing)
        """Change how the network computes, not what, in place; called once for each network."""

    @property
    @abstractmethod
    def frame(self) -> InputFrame:
        """The square input, and how an image gets there."""

    @property
    def grid(self) -> int:
        """Side of the image embeddings."""
        size = self.core.prompt_encoder.image_embedding_size
        return int(size[0])

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The encoder's blocks, in order."""

    @abstractmethod
    def begin(self, pixel_values: Tensor) -> Features:
        """What enters the first block, of `pixel_values` (B, 3, S, S)."""

    def advance(self, features: Features, number: int, run: Callable[..., Tensor]) -> Features:
        """Go through one block.

        Args:
            features: what enters it.
            number: which block.
            run: calls the block with its input; checkpointing comes in here.
        """
        return Features(run(self.blocks[number], features.main), features.details)

    @abstractmethod
    def finish(self, features: Features) -> Features:
        """Image embeddings from what the last block made."""

    def decode(
        self, features: Features, sparse: Tensor, dense: Tensor, places: Tensor, multimask: bool
    ) -> MaskPrediction:
        """Masks of K prompts.

        Args:
            features: image embeddings, I = K or, where all prompts are on one image, I = 1.
            sparse: (K, N, C) prompt tokens.
            dense: (K or 1, C, h/4, w/4) mask prompts, or the sign for none.
            places: (P, C) positional encoding of the image embeddings.
            multimask: three candidates instead of one.
        """
        decoder = self.core.mask_decoder
        own = self.own_tokens().expand(len(sparse), -1, -1)
        image = (features.main + dense).flatten(2).mT
        tokens, image = two_way(decoder.transformer, torch.cat([own, sparse], 1), image, places)
        return self.read_masks(tokens, image, features, multimask)

    @abstractmethod
    def own_tokens(self) -> Tensor:
        """(T', C) tokens that the decoder adds to those of the prompt."""

    @abstractmethod
    def read_masks(
        self, tokens: Tensor, image: Tensor, features: Features, multimask: bool
    ) -> MaskPrediction:
        """Masks from what the transformer made of tokens (K, T, C) and image (K, P, C)."""
