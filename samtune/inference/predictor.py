"""`SamPredictor`: segment_anything's predictor, for base and tuned models alike.

Arguments, shapes, dtypes and attributes are those of segment_anything's predictor.py.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samtune.errors import UserError
from samtune.geometry import logits_to_window, scale_xy
from samtune.images.preprocess import resize_to_frame
from samtune.inference.ask import require_numbers
from samtune.inference.prompt_arrays import prompt_of, require_finite, require_mask_shape
from samtune.inference.settings import Focus
from samtune.inference.transform import InputTransform
from samtune.inference.views import ImageViews, ask_in_views, within_view
from samtune.models.backend import Sam
from samtune.types import Features, ImageArray, Prompt, Prompts, Window


class SamPredictor:
    """Segment one image after another, with as many prompts for each as you like.

    Args:
        sam_model: from `load_model` or `sam_model_registry`.
        focus: `off` is segment_anything's predictor, to the bit. `auto` looks at small objects in a
            window around them, as samtune's own tasks do; each such window is encoded once.

    Attributes:
        transform: moves images and prompts into the input frame, for `predict_torch`.
        object_logits: (K,) of the last answer, above 0 where the model finds an object at all; `None`
            for families that do not say.
        encoded: all that the encoder made of the current image, or `None`.
        is_calibrated: scores are mapped to what was measured on validation images, where the model
            comes with such a map (`samtune calibrate`); the order of masks stays the same.
        original_size, input_size: (height, width) of the image, before and after resizing.
    """

    def __init__(self, sam_model: Sam, focus: Focus = "off") -> None:
        if focus not in ("auto", "off"):
            raise UserError(f"focus is {focus!r}: give 'auto' or 'off'")
        self.model = sam_model
        self.focus = focus
        self.model.eval()
        self.is_calibrated = True
        self.transform = InputTransform(sam_model.frame)
        self.reset_image()

    @property
    def device(self) -> torch.device:
        return self.model.device

    def reset_image(self) -> None:
        """Forget the current image."""
        self.is_image_set = False
        self.encoded: Features | None = None
        self.object_logits: Tensor | None = None
        self.views: ImageViews | None = None
        self._image: ImageArray | None = None
        self.original_size: tuple[int, int] | None = None
        self.input_size: tuple[int, int] | None = None

    @property
    def orig_h(self) -> int | None:
        """Height of the image, as segment_anything names it."""
        return self.original_size and self.original_size[0]

    @property
    def orig_w(self) -> int | None:
        """Width of the image."""
        return self.original_size and self.original_size[1]

    @property
    def input_h(self) -> int | None:
        """Height of the image after resizing."""
        return self.input_size and self.input_size[0]

    @property
    def input_w(self) -> int | None:
        """Width of the image after resizing."""
        return self.input_size and self.input_size[1]

    @property
    def features(self) -> Tensor | None:
        """Image embeddings (1, C, S/16, S/16) of the current image; kept ones may be set again."""
        return None if self.encoded is None else self.encoded.main

    @features.setter
    def features(self, embeddings: Tensor | None) -> None:
        self.encoded = None if embeddings is None else Features(embeddings)

    def set_image(self, image: ImageArray, image_format: str = "RGB") -> None:
        """Encode an image, so that masks can be predicted with prompts.

        Args:
            image: (H, W, 3) uint8, values 0..255. It is stretched as the training images were.
            image_format: order of the channels, `RGB` or `BGR`.

        Raises:
            UserError: the array has another shape or dtype, or the format is unknown.
        """
        image = self.stretched(image, image_format)
        values = resize_to_frame(image, self.model.frame)[None].to(self.device)
        self.set_torch_image(values, image.shape[:2])
        self._image = image
        if self.focus == "auto":
            self.views = ImageViews(image, self.model, self.model.reading.tile)

    def stretched(self, image: ImageArray, image_format: str = "RGB") -> ImageArray:
        """An image as the encoder is to see it: (H, W, 3) uint8 RGB, stretched as in training.

        Raises:
            UserError: the array has another shape or dtype, or the format is unknown.
        """
        if image_format not in ("RGB", "BGR"):
            raise UserError(f"image_format is {image_format!r}: give 'RGB' or 'BGR'")
        if not isinstance(image, np.ndarray):
            raise UserError(
                f"the image is a {type(image).__name__}; expected an array (H, W, 3) uint8 "
                "(sam.reading.read makes that of any file)"
            )
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise UserError(
                f"the image has shape {image.shape} and dtype {image.dtype}; expected (H, W, 3) "
                "uint8 (sam.reading.read makes that of any file)"
            )
        if image_format == "BGR":
            image = np.ascontiguousarray(image[..., ::-1])
        return self.model.reading.stretched(image)

    @torch.no_grad()
    def set_torch_image(
        self, transformed_image: Tensor, original_image_size: tuple[int, ...]
    ) -> None:
        """Encode an image that is resized already. Its masks are not sharpened: pixels are missing.

        Args:
            transformed_image: (1, 3, h, w), values 0..255, longest side S.
            original_image_size: (height, width) before resizing.

        Raises:
            UserError: the shape is another, or a value is NaN or infinite.
        """
        side = self.model.image_size
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != side:
            raise UserError(
                f"the image has shape {shape}; expected (1, 3, h, w) with a longest side of {side}"
            )
        require_finite(transformed_image, "the image")
        self.reset_image()
        self.original_size = (int(original_image_size[0]), int(original_image_size[1]))
        self.input_size = (shape[2], shape[3])
        self.encoded = self.model.encode(self.model.preprocess(transformed_image))
        self.is_image_set = True

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """Predict masks of one object of the current image.

        Args:
            point_coords: (N, 2) xy in pixels of the original image.
            point_labels: (N,), 1 is inside the object, 0 outside.
            box: (4,) xyxy in pixels of the original image.
            mask_input: (1, h, w) logits of an earlier prediction, h = w = S / 4.
            multimask_output: three masks, for an ambiguous prompt, instead of one. Those of SAM-HQ come
                best first, and its authors' predictor gives the first alone; their `hq_token_only`
                is not offered.
            return_logits: masks as logits instead of booleans.

        Returns:
            Masks (M, H, W), predicted IoU (M,), low-resolution logits (M, h, w).

        Raises:
            RuntimeError: no image is set.
            UserError: the prompts have other shapes, or are no finite numbers.
        """
        self._require_image()
        assert self.original_size is not None
        prompt = prompt_of(point_coords, point_labels, box, mask_input, self.model.mask_side)
        if self.views is not None:
            return self._predict_closely(self.views, prompt, multimask_output, return_logits)
        tensors = self._tensors(prompt)
        result = self.predict_torch(*tensors, multimask_output, return_logits)
        found, scores, logits = (part[0].detach().cpu().numpy() for part in result)
        return found, scores, logits

    def _predict_closely(
        self, views: ImageViews, prompt: Prompt, with_multimask: bool, return_logits: bool
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """`predict` in the window that fits the object; what comes back is of the whole image."""
        prompt, windows = within_view(views, prompt)
        how = {"with_multimask": with_multimask, "is_single": True}
        (seen,) = ask_in_views(self.model, views, [prompt], windows, **how)
        found, window = seen.answer.candidates, seen.window
        self.object_logits = found.object_logits
        (full_logits,) = seen.full_logits(self.model, with_all=True)
        logits = full_logits[0]
        # nothing is known of what lies outside of the window, but that it is not of the object
        full = torch.full((len(logits), *views.hw), float(logits.min()), device=logits.device)
        full[:, window.slices[0], window.slices[1]] = logits
        scores, calibration = found.iou_scores[0], self.model.calibration
        if calibration is not None and self.is_calibrated:
            scores = calibration(scores)
        frame = self.model.frame
        low_res = self.model.family.fed_back(found.low_res_logits[0].float()).cpu().numpy()
        if window != views.whole:  # SAM's own, as it is fed back: not sharpened
            own = found.low_res_logits[0].float().cpu().numpy()
            low_res = np.stack([logits_to_window(each, window, views.whole, frame) for each in own])
        masks = full if return_logits else full > self.model.mask_threshold
        return masks.cpu().numpy(), scores.cpu().numpy(), low_res

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict masks of K objects at once; prompts are in the input frame already.

        Args:
            point_coords: (K, N, 2) xy.
            point_labels: (K, N).
            boxes: (K, 4) xyxy.
            mask_input: (K, 1, h, w) logits.
            multimask_output: three masks for each object instead of one.
            return_logits: masks as logits instead of booleans.

        Returns:
            Masks (K, M, H, W), predicted IoU (K, M), low-resolution logits (K, M, h, w).

        Raises:
            RuntimeError: no image is set.
            UserError: there is no prompt at all, the prompts are of unequal numbers of objects, the
                mask prompt has another size, or a number of a prompt or of the answer is NaN or
                infinite.
        """
        self._require_image()
        assert self.encoded is not None
        assert self.input_size is not None
        assert self.original_size is not None
        if mask_input is not None:
            require_mask_shape(mask_input.shape[1:], self.model.mask_side)
        for name, part in (
            ("point_coords", point_coords), ("point_labels", point_labels), ("boxes", boxes),
            ("mask_input", mask_input),
        ):  # fmt: skip
            if part is not None:
                require_finite(part, name)
        prompts = Prompts(point_coords, point_labels, boxes, mask_input)
        if not len(prompts):
            raise UserError("there is no prompt: give points with labels, a box or a mask")
        image_index = torch.zeros(len(prompts), dtype=torch.int64, device=self.device)
        answer = self.model.decode(self.encoded, image_index, prompts, multimask_output)
        require_numbers(answer)
        self.object_logits = answer.object_logits
        logits = answer.low_res_logits.float()
        masks = self.model.postprocess_masks(logits, self.input_size, self.original_size)
        if self._image is not None and self.model.sharpeners:
            masks = self._sharpened(self._image, masks, prompts)
        if not return_logits:
            masks = masks > self.model.mask_threshold
        scores, calibration = answer.iou_scores.float(), self.model.calibration
        if calibration is not None and self.is_calibrated:
            scores = calibration(scores)
        return masks, scores, self.model.family.fed_back(logits)

    def _sharpened(self, image: ImageArray, logits: Tensor, prompts: Prompts) -> Tensor:
        """Logits (K, M, H, W) with edges as the pixels have them; prompts are in the input frame."""
        whole = Window(0, 0, *image.shape[:2])
        assert self.input_size is not None
        sizes = self.input_size, whole.hw

        def own(coords: Tensor | None, row: int, *shape: int) -> NDArray[np.float32] | None:
            if coords is None:
                return None
            return scale_xy(coords[row].cpu().numpy().reshape(-1, 2), *sizes).reshape(shape)

        result = torch.empty_like(logits)
        for row, candidates in enumerate(logits):
            labels = prompts.point_labels
            prompt = Prompt(
                own(prompts.point_coords, row, -1, 2),
                None if labels is None else labels[row].cpu().numpy().astype(np.int64),
                own(prompts.boxes_xyxy, row, 4),
            )
            together = [prompt] * len(candidates)
            result[row] = self.model.sharpened(image, whole, candidates, together)
        return result

    def get_image_embedding(self) -> Tensor:
        """Embeddings (1, C, S/16, S/16) of the current image.

        Raises:
            RuntimeError: no image is set.
        """
        self._require_image()
        assert self.features is not None
        return self.features

    def _require_image(self) -> None:
        if not self.is_image_set:
            raise RuntimeError("An image must be set with .set_image(...) before mask prediction.")

    def _tensors(
        self, prompt: Prompt
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Points (1, N, 2), labels (1, N), box (1, 4) and mask (1, 1, h, w) for `predict_torch`."""
        hw = self.original_size
        assert hw is not None
        points, box = (
            None if part is None else self.transform.apply_coords(part.reshape(-1, 2), hw)
            for part in (prompt.point_coords, prompt.box_xyxy)
        )

        def tensor(values: NDArray[Any] | None, *shape: int, **how: Any) -> Tensor | None:
            if values is None:
                return None
            return torch.as_tensor(values, device=self.device, **how).reshape(shape)

        labels = tensor(prompt.point_labels, 1, -1, dtype=torch.int)
        mask = prompt.mask_input
        side = self.model.mask_side
        return tensor(points, 1, -1, 2), labels, tensor(box, 1, 4), tensor(mask, 1, 1, side, side)
