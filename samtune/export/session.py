"""Exported graphs in onnxruntime, for checks and measurements: what a user's own code would do."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.preprocess import to_pixel_values
from samtune.errors import require
from samtune.geometry import resized_hw, scale_xy
from samtune.types import FloatArray, ImageArray, InputFrame, Prompt


def open_session(path: Path) -> Any:
    """An inference session on the CPU.

    Raises:
        UserError: onnxruntime is not installed.
    """
    runtime = require("onnxruntime", "onnx")
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


class OnnxPredictor:
    """Encoder and decoder of `--to onnx` in a folder.

    Args:
        folder: with `encoder.onnx` and `decoder.onnx`.
        frame: of the model.
        encoder: another file of the folder, such as the quantised one.
    """

    def __init__(self, folder: Path, frame: InputFrame, encoder: str = "encoder.onnx") -> None:
        self.encoder = open_session(folder / encoder)
        self.decoder = open_session(folder / "decoder.onnx")
        self.frame = frame
        shapes = {each.name: each.shape for each in self.decoder.get_inputs()}
        self.mask_side = int(shapes["mask_input"][-1])

    def set_image(self, image: ImageArray) -> None:
        """Encode an (H, W, 3) uint8 image."""
        pixels = to_pixel_values(image, self.frame)[None].numpy()
        answers = self.encoder.run(None, {"x": pixels})
        names = [output.name for output in self.encoder.get_outputs()]
        self.features: dict[str, FloatArray] = dict(zip(names, answers, strict=True))
        self.hw = (image.shape[0], image.shape[1])

    def predict(self, prompt: Prompt) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Logits (4, H, W), scores (4,) and low-resolution logits (4, h, w) of a prompt (original frame)."""
        inputs = self.features | decoder_inputs(prompt, self.hw, self.frame, self.mask_side)
        masks, scores, low = self.decoder.run(None, inputs)
        return masks[0], scores[0], low[0]


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
    points = [np.zeros((0, 2)) if prompt.point_coords is None else prompt.point_coords]
    labels = [np.zeros(0) if prompt.point_labels is None else prompt.point_labels]
    if prompt.box_xyxy is not None:
        points.append(prompt.box_xyxy.reshape(2, 2))
        labels.append(np.array([2.0, 3.0]))
    elif frame.keeps_aspect:
        points.append(np.zeros((1, 2)))
        labels.append(np.array([-1.0]))
    coords = scale_xy(np.concatenate(points), hw, resized_hw(hw, frame))
    mask = np.zeros((mask_side, mask_side)) if prompt.mask_input is None else prompt.mask_input
    return {
        "point_coords": coords[None].astype(np.float32),
        "point_labels": np.concatenate(labels)[None].astype(np.float32),
        "mask_input": mask[None, None].astype(np.float32),
        "has_mask_input": np.array([prompt.mask_input is not None], np.float32),
        "orig_im_size": np.array(hw, np.float32),
    }
