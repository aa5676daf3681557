"""What AnyLabeling and X-AnyLabeling do with the files, step by step, to check them in use.

Sources: see tool_graphs.py.
"""

from pathlib import Path

import cv2
import numpy as np

from samtune.exports.onnx_session import open_session, points_of, run_encoder
from samtune.exports.tool_graphs import CANVAS
from samtune.types import FloatArray, ImageArray, MaskArray, Prompt

# Rows and columns of the canvas that pictures are drawn on
_CANVAS_HW = (684, CANVAS)
_MASK_SIDE = CANVAS // 4
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PictureTool:
    """Types `segment_anything` and `sam_hq`.

    Args:
        folder: with the files.
        encoder: name of the encoder's file.
    """

    def __init__(self, folder: Path, encoder: str = "encoder.onnx") -> None:
        self.encoder = open_session(folder / encoder)
        self.decoder = open_session(folder / "decoder.onnx")

    def set_image(self, image: ImageArray) -> None:
        self.hw = (image.shape[0], image.shape[1])
        self.scale = min(_CANVAS_HW[1] / self.hw[1], _CANVAS_HW[0] / self.hw[0])
        canvas = cv2.warpAffine(image, _scaling(self.scale), _CANVAS_HW[::-1])
        main, *details = run_encoder(self.encoder, canvas.astype(np.float32)).items()
        self.features = dict([main, *((name, np.stack([value])) for name, value in details)])

    def mask(self, prompt: Prompt) -> MaskArray:
        coords, labels = points_of(prompt)
        coords = np.concatenate([coords * self.scale, np.zeros((1, 2))])
        inputs = {
            "point_coords": coords[None].astype(np.float32),
            "point_labels": np.append(labels, -1)[None].astype(np.float32),
            "mask_input": np.zeros((1, 1, _MASK_SIDE, _MASK_SIDE), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(_CANVAS_HW, np.float32),
        }
        masks = self.decoder.run(None, self.features | inputs)[0]
        found = cv2.warpAffine(masks[0, 0], _scaling(1 / self.scale), self.hw[::-1])
        return np.asarray(found > 0)


class PyramidTool:
    """Type `segment_anything_2`; inputs and outputs go by their order, not by their names."""

    def __init__(self, folder: Path, encoder: str = "encoder.onnx") -> None:
        self.encoder = open_session(folder / encoder)
        self.decoder = open_session(folder / "decoder.onnx")
        self.side = int(self.encoder.get_inputs()[0].shape[2])

    def set_image(self, image: ImageArray) -> None:
        self.hw = (image.shape[0], image.shape[1])
        resized = cv2.resize(image, (self.side, self.side)) / 255
        pixels = ((resized - _MEAN) / _STD).transpose(2, 0, 1)[None].astype(np.float32)
        *self.details, self.main = run_encoder(self.encoder, pixels).values()

    def mask(self, prompt: Prompt) -> MaskArray:
        coords, labels = points_of(prompt)
        ratio = np.array([self.side / self.hw[1], self.side / self.hw[0]])
        mask = np.zeros((1, 1, self.side // 4, self.side // 4), np.float32)
        values: list[FloatArray] = [
            self.main, *self.details, (coords * ratio)[None].astype(np.float32), labels[None],
            mask, np.zeros(1, np.float32),
        ]  # fmt: skip
        names = [each.name for each in self.decoder.get_inputs()]
        masks, scores = self.decoder.run(None, dict(zip(names, values, strict=True)))
        best = masks[0][np.argmax(scores.squeeze())]
        return np.asarray(cv2.resize(best, self.hw[::-1]) > 0)


def _scaling(scale: float) -> FloatArray:
    return np.array([[scale, 0, 0], [0, scale, 0]], np.float32)
