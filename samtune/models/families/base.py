"""What samtune asks of a family of networks: how an image is encoded step by step, how masks are read.

A family is transformers' network seen through this face. The encoder is a row of blocks, so that
blocks that nobody trains can be computed once and kept, and so that each block can be computed again
in the backward pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from samtune.errors import UserError
from samtune.models.decoder import two_way
from samtune.models.official.strict import Settings, made_of
from samtune.types import Features, InputFrame, MaskPrediction


class Family(ABC):
    """One kind of network.

    Args:
        core: transformers' network, with adapter layers in place if there are any.

    Attributes:
        name: as in the registry.
        model_types: `model_type` of a transformers folder that holds such a network.
        network_class: transformers' class.
        official: module with the authors' names for the weights; `None` if they are transformers'.
        blocks_path: where the encoder's blocks are, as a regular expression.
        lora_layers: setting -> regular expression of the layers of a block that get LoRA.
        with_kept_embeddings: of a frozen encoder the embeddings are kept, not the last block's answer.
        processor: transformers' processor, and the image processor in it.
        detail_names: of what the decoder takes of the image besides its embeddings, in ONNX files.
        tool_type: `type` of a model of X-AnyLabeling; empty if it has none.
        official_code: the authors' package, and whose it is where another has the same name.
        official_key: under which their file holds the state dict; empty if it holds nothing else.
        transformers_note: what a user of transformers should know.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    network_class: ClassVar[Any]
    official: ClassVar[Any] = None
    blocks_path: ClassVar[str]
    lora_layers: ClassVar[Mapping[str, str]]
    with_kept_embeddings: ClassVar[bool] = True
    processor: ClassVar[tuple[str, str]]
    detail_names: ClassVar[tuple[str, ...]] = ()
    tool_type: ClassVar[str] = ""
    official_code: ClassVar[tuple[str, str]] = ("", "")
    official_key: ClassVar[str] = ""
    transformers_note: ClassVar[str] = ""

    def __init__(self, core: Any) -> None:
        self.core = core

    def prepare(self) -> None:  # noqa: B027 (most families need nothing)
        """Change how the network computes, not what, in place; called once for each network."""

    @classmethod  # noqa: B027 (most families need nothing)
    def require(cls) -> None:
        """Make sure that what the family needs besides is installed.

        Raises:
            UserError: a package is missing.
        """

    @classmethod
    @abstractmethod
    def build_config(cls, side: int, settings: Settings) -> Any:
        """transformers' configuration.

        Args:
            side: of the input.
            settings: what differs from the family's defaults, under the keys `vision`,
                `prompt_encoder` and `mask_decoder`.
        """

    @classmethod
    def is_official(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether a state dict is one of the authors' checkpoints of this family."""
        return False

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], source: str) -> Any:
        """transformers' network with the weights of an official state dict, loaded strictly.

        Raises:
            UserError: a tensor is missing, surplus or misshapen.
        """
        try:
            config = cls.build_config(*cls.official.read_settings(state))
        except KeyError as error:
            raise UserError(
                f"{source} lacks {error}, which every {cls.name} checkpoint has: it is truncated, "
                "or of another model family"
            ) from error
        translated = cls.official.official_to_transformers(state)
        return made_of(cls.network_class, config, translated, source)

    def to_official(self) -> dict[str, Tensor]:
        """The weights under the authors' names.

        Raises:
            UserError: the family's authors publish no layout of their own.
        """
        if self.official is None:
            raise UserError(f"{self.name} models have no official layout but transformers' own")
        converted: dict[str, Tensor] = self.official.transformers_to_official(
            self.core.state_dict()
        )
        return converted

    def official_file(self, state: dict[str, Tensor]) -> dict[str, Any]:
        """What the authors' file holds, made of the weights under their names."""
        return {self.official_key: state} if self.official_key else state

    @abstractmethod
    def set_image_size(self, side: int) -> None:
        """Make the network take square inputs of another size, in place.

        Raises:
            UserError: the encoder cannot take that size.
        """

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
    def blocks(self) -> Sequence[Any]:
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

    def finer_maps(self, features: Features) -> tuple[Tensor, ...]:
        """Of image embeddings their maps of (B, C, S/4, S/4) and (B, C, S/8, S/8), if there are any."""
        return features.details

    def require_multiple(self, side: int, step: int) -> None:
        if side <= 0 or side % step:
            raise UserError(
                f"image_size is {side}: give a multiple of {step} for {self.name} models"
            )

    def resize_prompts(self, side: int, grid: int) -> None:
        """Tell the prompt encoder and its configuration of another input size."""
        config, encoder = self.core.config.prompt_encoder_config, self.core.prompt_encoder
        config.image_size = encoder.input_image_size = side
        encoder.image_embedding_size = (grid, grid)
        if hasattr(encoder, "mask_input_size"):
            encoder.mask_input_size = (4 * grid, 4 * grid)

    def fed_back(self, logits: Tensor) -> Tensor:
        """Logits of an earlier answer as the authors' code gives them back as a mask prompt."""
        return logits

    def ready(self, features: Features) -> Features:
        """What the decoder makes of image embeddings (B) before it sees a prompt."""
        return features

    def decode(
        self, features: Features, sparse: Tensor, dense: Tensor, places: Tensor, multimask: bool
    ) -> MaskPrediction:
        """Masks of K prompts.

        Args:
            features: from `ready`, I = K or, where all prompts are on one image, I = 1.
            sparse: (K, N, C) prompt tokens.
            dense: (K or 1, C, h/4, w/4) mask prompts, or the sign for none.
            places: (P, C) positional encoding of the image embeddings.
            multimask: three candidates instead of one.
        """
        tokens, image = self.attend(features, sparse, dense, places)
        return self.read_masks(tokens, image, features, multimask)

    def attend(
        self, features: Features, sparse: Tensor, dense: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the transformer makes of the tokens (K, T, C) and the image (K, P, C), as `decode`."""
        own = self.own_tokens().expand(len(sparse), -1, -1)
        image = (features.main + dense).flatten(2).transpose(-1, -2)
        tokens = torch.cat([own, sparse], 1)
        return two_way(self.core.mask_decoder.transformer, tokens, image, places)

    @abstractmethod
    def own_tokens(self) -> Tensor:
        """(T', C) tokens that the decoder adds to those of the prompt."""

    @abstractmethod
    def read_masks(
        self, tokens: Tensor, image: Tensor, features: Features, multimask: bool
    ) -> MaskPrediction:
        """Masks from what the transformer made of tokens (K, T, C) and image (K, P, C)."""
