"""The network as samtune sees it: one encode/decode contract over all families.

`Sam` holds transformers' network, bare or wrapped by PEFT, and offers besides what users of
segment_anything's `Sam` know: `device`, `preprocess`, `postprocess_masks`, `image_encoder`,
`prompt_encoder`, `mask_decoder`, `forward(batched_input, multimask_output)`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from samtune.heads.network import Encoded
from samtune.models.calibration import Calibration
from samtune.models.chunking import cut_objects, join_predictions
from samtune.models.families.base import Family
from samtune.models.families.table import find_family
from samtune.models.identity import BaseIdentity
from samtune.models.mask_thresholds import FittedThresholds
from samtune.models.parts import ImageEncoder, MaskDecoder, PromptEncoder
from samtune.models.sharpening.applying import sharpened
from samtune.models.sharpening.network import Sharpener
from samtune.reading import Reading
from samtune.types import Features, ImageArray, InputFrame, MaskPrediction, Prompt, Prompts, Window

# Objects decoded at once on a GPU; on a CPU so many that what they need stays near the cache
# (floats of the finest map: 2 million an object at 1024 px, an eighth of a million for nano).
_OBJECTS_ON_GPU = 64
_FLOATS_ON_CPU = 2**21


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

    def __init__(self, network: PreTrainedModel | PeftModel, base: BaseIdentity) -> None:
        super().__init__()
        self.network = network
        self.base = base
        self.family.prepare()
        # How the training images were read, and whether single prompts got three masks: the same
        # is done in use.
        self.reading = Reading()
        self.with_multimask = True
        # What measured IoU the predicted one stands for, as far as it was fitted.
        self.calibration: Calibration | None = None
        # Which automatic masks stay, as far as that was fitted.
        self.thresholds: FittedThresholds | None = None
        # Whether it was found better than its base on its validation images; `None`: nobody looked.
        self.is_better: bool | None = None
        # What says of a whole image, without a prompt, what is in it: by name, see samtune/heads.
        self.heads = nn.ModuleDict()
        # What draws the edges of masks, see samtune/models/sharpening: those that are the base's, one
        # after the other, and after them that of the tuned model.
        self.base_sharpeners = nn.ModuleList()
        self.sharpener: Sharpener | None = None
        # The same for the objects that the head for instances finds.
        self.object_sharpener: Sharpener | None = None
        # Whether the weights are those of the base, so that they need not be saved.
        self.is_base = False
        # of the frozen encoder's weights, see models/quantize.py
        self.quantization = "none"
        # Within `base_weights`.
        self._is_at_base = False
        # Compute activations again in the backward pass instead of keeping them.
        self.with_checkpointing = False
        for name, values in (("pixel_mean", self.frame.mean), ("pixel_std", self.frame.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def core(self) -> Any:
        """transformers' network, with adapter layers in place if there are any."""
        if isinstance(self.network, PeftModel):
            return self.network.get_base_model()
        return self.network

    @property
    def family(self) -> Family:
        """How to go through a network of this kind."""
        return find_family(self.core)

    @property
    def frame(self) -> InputFrame:
        """The square input, and how an image gets there."""
        return self.family.frame

    @property
    def image_size(self) -> int:
        """Side S of the square input."""
        return self.frame.side

    @property
    def mask_side(self) -> int:
        """Side of the mask prompt and of the low-resolution logits."""
        return 4 * self.family.grid

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the decoder's weights, and of the encoder's where they are not quantised."""
        dtype: torch.dtype = self.core.mask_decoder.iou_token.weight.dtype
        return dtype

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Sam":
        """As `nn.Module.to` asks for it, but what places prompts and normalises keeps its precision.

        Half precision would move a point by up to two pixels of 1024.
        """
        modules = (self.core.prompt_encoder, self.core.shared_image_embedding)
        precise = {id(self.pixel_mean), id(self.pixel_std)}
        precise |= {id(t) for m in modules for t in (*m.parameters(), *m.buffers())}

        def apply(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            is_lossy = id(tensor) in precise and moved.dtype.itemsize < tensor.dtype.itemsize
            return tensor.to(moved.device) if is_lossy else moved

        super()._apply(apply, recurse)  # type: ignore[no-untyped-call]
        return self

    @property
    def is_adapted(self) -> bool:
        return isinstance(self.network, PeftModel)

    @property
    def num_channels(self) -> int:
        """Channels C of the image embeddings."""
        return int(self.core.mask_decoder.iou_token.weight.shape[1])

    @property
    def image_encoder(self) -> ImageEncoder:
        """segment_anything's name of this part, and how it is called there."""
        return ImageEncoder(self, self.core.vision_encoder)

    @property
    def prompt_encoder(self) -> PromptEncoder:
        """segment_anything's name of this part, and how it is called there."""
        return PromptEncoder(self, self.core.prompt_encoder)

    @property
    def mask_decoder(self) -> MaskDecoder:
        """segment_anything's name of this part, and how it is called there."""
        return MaskDecoder(self, self.core.mask_decoder)

    @property
    def depth(self) -> int:
        """Steps of the encoder: its blocks, and what makes image embeddings of the last one."""
        return len(self.family.blocks) + 1

    @contextmanager
    def base_weights(self) -> Iterator[None]:
        """Within this context the adapter is off: the same network answers as the base.

        Raises:
            RuntimeError: the network has no adapter (it was trained in mode `full`).
        """
        if not isinstance(self.network, PeftModel):
            raise RuntimeError("this network has no adapter to turn off")
        if self._is_at_base:
            yield
            return
        # PEFT makes what it turns on again trainable, whatever it was before
        trainable = [(p, p.requires_grad) for p in self.network.parameters()]
        try:
            # its disable_adapter, without the report on all layers, which takes longer than an answer
            self.network.base_model.disable_adapter_layers()
            self._is_at_base = True
            yield
        finally:
            self._is_at_base = False
            self.network.base_model.enable_adapter_layers()
            for parameter, requires_grad in trainable:
                parameter.requires_grad_(requires_grad)

    def encode(self, pixel_values: Tensor) -> Features:
        """Image embeddings of `pixel_values` (B, 3, S, S); `main` is (B, C, S/16, S/16).

        Gradients flow; transformers' `get_image_embeddings` would cut them off without a word.
        """
        return self.encode_from(self.encode_until(pixel_values, 0), 0)

    def encode_for_heads(self, pixel_values: Tensor) -> Features:
        """What heads read: image embeddings of (B, 3, S, S), and the family's finer maps."""
        features = self.encode(pixel_values)
        return Features(features.main, self.family.finer_maps(features))

    def encode_until(self, pixel_values: Tensor, depth: int) -> Features:
        """The first `depth` steps of the encoder; `encode_from` goes on from there."""
        return self._advance(self.family.begin(pixel_values.to(self.dtype)), 0, depth)

    @property
    def encoded(self) -> Encoded:
        """The sizes of what heads read, found without computing it."""
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            pixels = torch.empty(1, 3, self.image_size, self.image_size, device=self.device)
            features = self.encode_for_heads(pixels)
        details = tuple(int(part.shape[1]) for part in features.details)
        return Encoded(self.image_size, int(features.main.shape[1]), details)

    def features_size(self, depth: int) -> int:
        """Numbers that the first `depth` steps make of one image, found without computing them."""
        side = self.image_size
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            pixels = torch.empty(1, 3, side, side, device=self.device)
            features = self.encode_until(pixels, depth)
        return sum(part.numel() for part in (features.main, *features.details))

    def encode_from(self, features: Features, depth: int) -> Features:
        """Image embeddings from what the first `depth` steps made."""
        return self._advance(features, depth, self.depth)

    def _advance(self, features: Features, first: int, last: int) -> Features:
        family = self.family
        for number in range(first, min(last, self.depth - 1)):
            features = family.advance(features, number, self._run_block)
        return family.finish(features) if first < last == self.depth else features

    def _run_block(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        # a block that nothing is trained in or before keeps no activations anyway
        is_trained = any(part.requires_grad for part in (*inputs, *block.parameters()))
        call: Callable[..., Tensor] = block
        if self.with_checkpointing and is_trained and torch.is_grad_enabled():
            call = partial(checkpoint, block, use_reentrant=False)
        return call(*inputs)

    def decode(
        self,
        features: Features,
        image_index: Tensor,
        prompts: Prompts,
        multimask_output: bool,
        objects_per_chunk: int = 0,
    ) -> MaskPrediction:
        """Decode K prompts of one signature on the images that they belong to.

        Args:
            features: image embeddings, as `encode` gives.
            image_index: (K,) which image each prompt is for.
            prompts: K prompts in the input frame.
            multimask_output: three candidates (M = 3), or one mask (M = 1).
            objects_per_chunk: how many objects are decoded at once; 0 chooses.

        Raises:
            UserError: points, boxes and masks are not of as many objects.
        """
        prompts.require_one_number()
        with torch.autocast(self.device.type, enabled=False):
            places = self.core.get_image_wide_positional_embeddings()[0].flatten(1).T
        answers, features = [], self.family.ready(features)
        size = objects_per_chunk or self._objects_per_chunk()
        # on a CPU a small network's time goes into starting operations, not into what they compute
        is_cpu = self.device.type == "cpu"
        few = max(1, min(size, self._objects_per_chunk()) // 2) if is_cpu else 1
        for part, image in cut_objects(image_index, len(features), size, few):
            seen = features[image_index[part]] if image is None else features[image : image + 1]
            answers.append(self._decode_chunk(seen, prompts[part], places, multimask_output))
        return join_predictions(answers)

    def _objects_per_chunk(self) -> int:
        if self.device.type != "cpu":
            return _OBJECTS_ON_GPU
        width = self.core.mask_decoder.iou_token.weight.shape[1] // 8
        return max(1, int(_FLOATS_ON_CPU // (self.mask_side**2 * width)))

    def _decode_chunk(
        self, features: Features, prompts: Prompts, places: Tensor, multimask: bool
    ) -> MaskPrediction:
        if self.with_checkpointing and torch.is_grad_enabled():
            answer: MaskPrediction = checkpoint(
                self._decode_together, features, prompts, places, multimask, use_reentrant=False
            )
            return answer
        return self._decode_together(features, prompts, places, multimask)

    def _decode_together(
        self, features: Features, prompts: Prompts, places: Tensor, multimask: bool
    ) -> MaskPrediction:
        sparse, dense = (part.to(self.dtype) for part in self.embed_prompts(prompts))
        return self.family.decode(features, sparse, dense, places.to(self.dtype), multimask)

    def embed_prompts(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Sparse (K, N', C) and dense (K or 1, C, S/16, S/16) prompt embeddings."""

        def one_each(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[:, None]

        encoder, masks = self.core.prompt_encoder, prompts.mask_inputs
        if masks is not None:  # answers of half precision come back, too
            masks = self.family.fed_back(masks.to(encoder.no_mask_embed.weight.dtype))
        # half precision would move a point by up to two pixels of 1024
        with torch.autocast(self.device.type, enabled=False):
            sparse, dense = encoder(
                input_points=one_each(prompts.point_coords),
                input_labels=one_each(prompts.point_labels),
                input_boxes=one_each(prompts.boxes_xyxy),
                input_masks=masks,
            )
        if sparse is None:  # a mask alone: no tokens, as the official code does
            weight = encoder.no_mask_embed.weight
            sparse = weight.new_zeros(len(prompts), 1, 0, weight.shape[1])
        return sparse[:, 0], dense if prompts.mask_inputs is not None else dense[:1]

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

    @property
    def sharpeners(self) -> list[Sharpener]:
        """What sharpens its masks as it answers now, in turn."""
        found = cast(list[Sharpener], list(self.base_sharpeners))
        is_tuned = self.sharpener is not None and not self._is_at_base
        return [*found, cast(Sharpener, self.sharpener)] if is_tuned else found

    def sharpened(
        self, image: ImageArray, window: Window, logits: Tensor, prompts: Sequence[Prompt]
    ) -> Tensor:
        """Logits (K, h, w) as they are given to users: sharpened where the model has learned that.

        Args:
            image: (H, W, 3), as the network saw it.
            window: of the image, that the logits are of.
            logits: (K, h, w), at the window's resolution.
            prompts: K, original frame.
        """
        for each in self.sharpeners:
            logits = sharpened(each, image, window, logits, prompts)
        return logits

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
        features = self.encode(torch.stack([self.preprocess(x["image"]) for x in batched_input]))
        outputs = []
        for index, record in enumerate(batched_input):
            prompts = Prompts(
                record.get("point_coords"), record.get("point_labels"),
                record.get("boxes"), record.get("mask_inputs"),
            )  # fmt: skip
            image_index = torch.full((len(prompts),), index, device=self.device)
            answer = self.decode(features, image_index, prompts, multimask_output)
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
