"""The network as samtune sees it: one encode/decode contract over all families.

`Sam` serves the original SAM family (ViT-B, -L, -H, MedSAM, nano). It holds transformers' network,
bare or wrapped by PEFT, and offers besides what users of segment_anything's `Sam` know:
`device`, `preprocess`, `postprocess_masks`, `forward(batched_input, multimask_output)`.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import SamModel

from samtune.types import InputFrame, MaskPrediction, Prompts, Stretch

# Objects decoded at once; about 30 MB each at 1024 px (fp32, inference).
OBJECTS_PER_CHUNK = 32


def _use_plain_attention(decoder: nn.Module) -> None:
    """With a prompt's few tokens, fused attention is the slower one, its backward pass by far.

    The decoder gets a config of its own: networks may share one, and building one resets it.
    """
    config = copy.copy(decoder.config)
    config._attn_implementation = "eager"  # type: ignore[union-attr]
    for module in decoder.modules():
        if hasattr(module, "config"):
            module.config = config


@dataclass(frozen=True)
class BaseIdentity:
    """Which base a network was made from, so that an adapter never meets the wrong one.

    Attributes:
        name: what `load_model` was given: registry name, hub id, absolute path of folder or file.
        checkpoint: absolute path of official weights given beside a registry name; empty without.
        image_size: side of the square input after interpolation, pixels.
        sha256: over the names and bytes of all weights, before interpolation and tuning.
        is_random: the weights are a seeded random initialisation.
    """

    name: str
    checkpoint: str
    image_size: int
    sha256: str
    is_random: bool = False


class Sam(nn.Module):
    """A Segment Anything network, base or tuned.

    Args:
        network: transformers' `SamModel`, or PEFT's wrapper around one.
        base: what it was made from.
    """

    mask_threshold: float = 0.0
    image_format: str = "RGB"
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, network: SamModel | PeftModel, base: BaseIdentity) -> None:
        super().__init__()
        self.network = network
        self.base = base
        _use_plain_attention(self.core.mask_decoder)
        # What the training images went through before SAM's own preprocessing (`read_image`), and
        # whether single prompts got three masks: used again at inference.
        self.stretch: Stretch = "none"
        self.bands: list[int] | None = None
        self.with_multimask = True
        self.with_decoder_checkpointing = False
        for name, values in (("pixel_mean", self.frame.mean), ("pixel_std", self.frame.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def core(self) -> SamModel:
        """transformers' network, with adapter layers in place if there are any."""
        if isinstance(self.network, PeftModel):
            return self.network.get_base_model()
        return self.network

    @property
    def image_size(self) -> int:
        """Side S of the square input."""
        return int(self.core.config.vision_config.image_size)

    @property
    def frame(self) -> InputFrame:
        """The square input, and how an image gets there."""
        return InputFrame(self.image_size)

    @property
    def mask_side(self) -> int:
        """Side of the mask prompt and of the low-resolution logits."""
        return 4 * int(self.core.config.prompt_encoder_config.image_embedding_size)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    @property
    def is_adapted(self) -> bool:
        return isinstance(self.network, PeftModel)

    @property
    def is_encoder_adapted(self) -> bool:
        """Whether turning the adapter off would change the image embeddings."""
        return any(".lora_" in name for name, _ in self.core.vision_encoder.named_parameters())

    @contextmanager
    def base_weights(self) -> Iterator[None]:
        """Within this context the adapter is off: the same network answers as the base.

        Raises:
            RuntimeError: the network has no adapter (it was trained in mode `full`).
        """
        if not isinstance(self.network, PeftModel):
            raise RuntimeError("this network has no adapter to turn off")
        # PEFT makes what it turns on again trainable, whatever it was before
        trainable = [(p, p.requires_grad) for p in self.network.parameters()]
        try:
            with self.network.disable_adapter():
                yield
        finally:
            for parameter, requires_grad in trainable:
                parameter.requires_grad_(requires_grad)

    def encode(self, pixel_values: Tensor) -> Tensor:
        """Image embeddings (B, C, S/16, S/16) of `pixel_values` (B, 3, S, S).

        Gradients flow; transformers' `get_image_embeddings` would cut them off without a word.
        """
        embeddings: Tensor = self.core.vision_encoder(pixel_values).last_hidden_state
        return embeddings

    def decode(
        self,
        image_embeddings: Tensor,
        image_index: Tensor,
        prompts: Prompts,
        multimask_output: bool,
        objects_per_chunk: int = OBJECTS_PER_CHUNK,
    ) -> MaskPrediction:
        """Decode K prompts of one signature on the images that they belong to.

        Args:
            image_embeddings: (B, C, h/4, w/4), as `encode` gives.
            image_index: (K,) which image each prompt is for.
            prompts: K prompts in the input frame.
            multimask_output: three candidates (M = 3), or the one mask of the fourth token (M = 1).
            objects_per_chunk: how many objects are decoded at once.
        """
        logits, scores = [], []
        for start in range(0, len(prompts), objects_per_chunk):
            part = slice(start, start + objects_per_chunk)
            answer = self._decode_chunk(
                image_embeddings, image_index[part], prompts[part], multimask_output
            )
            logits.append(answer[0])
            scores.append(answer[1])
        return MaskPrediction(torch.cat(logits), torch.cat(scores))

    def _decode_chunk(
        self, image_embeddings: Tensor, image_index: Tensor, prompts: Prompts, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        arguments = (image_embeddings, image_index, prompts, multimask)
        if self.with_decoder_checkpointing and torch.is_grad_enabled():
            answer: tuple[Tensor, Tensor] = checkpoint(
                self._decode_together, *arguments, use_reentrant=False
            )
            return answer
        return self._decode_together(*arguments)

    def _decode_together(
        self, image_embeddings: Tensor, image_index: Tensor, prompts: Prompts, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        core, count = self.core, len(prompts)
        sparse, dense = self.embed_prompts(prompts)
        with torch.autocast(self.device.type, enabled=False):
            places = core.get_image_wide_positional_embeddings()
        masks, scores = core.mask_decoder(
            image_embeddings=image_embeddings[image_index],
            image_positional_embeddings=places.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return masks[:, 0], scores[:, 0]

    def embed_prompts(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Sparse (K, 1, N', C) and dense (K or 1, C, S/16, S/16) prompt embeddings."""

        def one_each(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[:, None]

        encoder = self.core.prompt_encoder
        # half precision would move a point by up to two pixels of 1024
        with torch.autocast(self.device.type, enabled=False):
            sparse, dense = encoder(
                input_points=one_each(prompts.point_coords),
                input_labels=one_each(prompts.point_labels),
                input_boxes=one_each(prompts.boxes_xyxy),
                input_masks=prompts.mask_inputs,
            )
        if sparse is None:  # a mask alone: no tokens, as the official code does
            weight = encoder.no_mask_embed.weight
            sparse = weight.new_zeros(len(prompts), 1, 0, weight.shape[1])
        return sparse, dense

    def preprocess(self, x: Tensor) -> Tensor:
        """Normalise a (..., 3, H, W) image of values 0..255 and pad it right and below to S."""
        x = (x - self.pixel_mean) / self.pixel_std
        height, width = x.shape[-2:]
        return F.pad(x, (0, self.image_size - width, 0, self.image_size - height))

    def postprocess_masks(
        self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]
    ) -> Tensor:
        """Bring (K, M, h, w) logits to (K, M, *original_size), the padding cut off."""
        if self.frame.keeps_aspect:
            side = (self.image_size, self.image_size)
            masks = F.interpolate(masks, side, mode="bilinear", align_corners=False)
            masks = masks[..., : input_size[0], : input_size[1]]
        return F.interpolate(masks, original_size, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def forward(
        self, batched_input: list[dict[str, Any]], multimask_output: bool
    ) -> list[dict[str, Tensor]]:
        """segment_anything's `Sam.forward`: a list of images with their prompts, end to end.

        Args:
            batched_input: per image `image` (3, H, W) 0..255 resized to the input frame,
                `original_size`, and any of `point_coords` (K, N, 2), `point_labels` (K, N),
                `boxes` (K, 4), `mask_inputs` (K, 1, h, w), in the input frame.
            multimask_output: three masks per prompt instead of one.

        Returns:
            Per image `masks` (K, M, H, W) bool, `iou_predictions` (K, M), `low_res_logits`.
        """
        embeddings = self.encode(torch.stack([self.preprocess(x["image"]) for x in batched_input]))
        outputs = []
        for index, record in enumerate(batched_input):
            prompts = Prompts(
                record.get("point_coords"), record.get("point_labels"),
                record.get("boxes"), record.get("mask_inputs"),
            )  # fmt: skip
            image_index = torch.full((len(prompts),), index, device=self.device)
            answer = self.decode(embeddings, image_index, prompts, multimask_output)
            masks = self.postprocess_masks(
                answer.low_res_logits, record["image"].shape[-2:], record["original_size"]
            )
            outputs.append(
                {
                    "masks": masks > self.mask_threshold,
                    "iou_predictions": answer.iou_scores,
                    "low_res_logits": answer.low_res_logits,
                }
            )
        return outputs
