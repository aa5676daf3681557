"""Graphs in onnxruntime, and the network in torch, asked in the same way: to check and measure."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from samtune.errors import require
from samtune.geometry import logits_to_original, prompt_to_input, resized_hw, scale_xy
from samtune.images.preprocess import to_pixel_values
from samtune.models.backend import Sam
from samtune.prompts.packing import pack
from samtune.types import FloatArray, ImageArray, InputFrame, MaskArray, Prompt

# Logits (4, H, W), scores (4,), low-resolution logits (4, h, w)
Answer = tuple[FloatArray, FloatArray, FloatArray]


class Answering(Protocol):
    """What makes masks of prompts (original frame) on one image after another."""

    def set_image(self, image: ImageArray) -> None: ...

    def mask(self, prompt: Prompt) -> MaskArray: ...


def open_session(path: Path) -> Any:
    """An inference session on the CPU.

    Raises:
        UserError: onnxruntime is not installed.
    """
    runtime = require("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors; its warnings are of shapes that it infers otherwise
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxPredictor:
    """Encoder and decoder of `--to onnx` in a folder.

    Args:
        sam: that they were made from.
        folder: with `decoder.onnx` and the encoder.
        encoder: its file name.
    """

    def __init__(self, sam: Sam, folder: Path, encoder: str = "encoder.onnx") -> None:
        self.encoder = open_session(folder / encoder)
        self.decoder = open_session(folder / "decoder.onnx")
        self.sam = sam

    def set_image(self, image: ImageArray) -> None:
        pixels = to_pixel_values(image, self.sam.frame)[None].numpy()
        self.features = run_encoder(self.encoder, pixels)
        self.hw = (image.shape[0], image.shape[1])

    def predict(self, prompt: Prompt) -> Answer:
        inputs = decoder_inputs(prompt, self.hw, self.sam.frame, self.sam.mask_side)
        masks, scores, low = self.decoder.run(None, self.features | inputs)
        return masks[0], scores[0], low[0]

    def mask(self, prompt: Prompt) -> MaskArray:
        return choose(self.predict(prompt), prompt, self.sam.with_multimask)


class TorchPredictor:
    """The network itself."""

    def __init__(self, sam: Sam) -> None:
        self.sam = sam

    @torch.no_grad()
    def set_image(self, image: ImageArray) -> None:
        self.features = self.sam.encode(to_pixel_values(image, self.sam.frame)[None])
        self.hw = (image.shape[0], image.shape[1])

    @torch.no_grad()
    def predict(self, prompt: Prompt) -> Answer:
        packed = pack([prompt_to_input(prompt, self.hw, self.sam.frame)])
        first = torch.zeros(1, dtype=torch.int64)
        answers = [self.sam.decode(self.features, first, packed, three) for three in (False, True)]
        low = torch.cat([each.low_res_logits for each in answers], 1)
        scores = torch.cat([each.iou_scores for each in answers], 1)
        masks = logits_to_original(low, self.hw, self.sam.frame)
        return masks[0].numpy(), scores[0].numpy(), low[0].numpy()

    def mask(self, prompt: Prompt) -> MaskArray:
        return choose(self.predict(prompt), prompt, self.sam.with_multimask)


def choose(answer: Answer, prompt: Prompt, with_multimask: bool) -> MaskArray:
    """The mask that `samtune predict` and evaluation take of the four."""
    masks, scores, _ = answer
    is_ambiguous = with_multimask and prompt.is_single
    return np.asarray(masks[1 + int(scores[1:].argmax()) if is_ambiguous else 0] > 0)


def run_encoder(session: Any, image: NDArray[np.float32]) -> dict[str, FloatArray]:
    """Outputs by name."""
    answers = session.run(None, {session.get_inputs()[0].name: image})
    return {each.name: value for each, value in zip(session.get_outputs(), answers, strict=True)}


def decoder_inputs(
    prompt: Prompt, hw: tuple[int, int], frame: InputFrame, mask_side: int
) -> dict[str, NDArray[np.float32]]:
    """A prompt in the original frame as the decoder takes it.

    Args:
        prompt: of one object.
        hw: of the image.
        frame: of the model.
        mask_side: of mask prompts.
    """
    coords, labels = points_of(prompt)
    if prompt.box_xyxy is None and frame.keeps_aspect:
        coords = np.concatenate([coords, np.zeros((1, 2), np.float32)])
        labels = np.append(labels, np.float32(-1))
    mask = np.zeros((mask_side, mask_side)) if prompt.mask_input is None else prompt.mask_input
    return {
        "point_coords": scale_xy(coords, hw, resized_hw(hw, frame))[None],
        "point_labels": labels[None],
        "mask_input": mask[None, None].astype(np.float32),
        "has_mask_input": np.array([prompt.mask_input is not None], np.float32),
        "orig_im_size": np.array(hw, np.float32),
    }


def points_of(prompt: Prompt) -> tuple[FloatArray, FloatArray]:
    """(N, 2) points, and (N,) labels; a box is two of them, labelled 2 and 3."""
    coords, labels = np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    if prompt.point_coords is not None and prompt.point_labels is not None:
        coords, labels = prompt.point_coords, prompt.point_labels.astype(np.float32)
    if prompt.box_xyxy is not None:
        coords = np.concatenate([coords, prompt.box_xyxy.reshape(2, 2)])
        labels = np.concatenate([labels, np.array([2, 3], np.float32)])
    return coords, labels
