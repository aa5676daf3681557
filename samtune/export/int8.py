"""8-bit weights for the encoder, and what they cost.

onnxruntime's dynamic quantisation of the linear layers, each output channel with its own scale; the
decoder is small and stays as it is.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from samtune.data.procedural import ProceduralScenes
from samtune.data.source import Source
from samtune.errors import UserError, require
from samtune.export.exported import ExportSettings
from samtune.export.session import OnnxPredictor
from samtune.geometry import mask_to_box
from samtune.models.backend import Sam
from samtune.prompts.sampling import centre_point
from samtune.types import MaskArray, Prompt, Sample

_LARGE = 2**30


def quantise(source: Path, target: Path) -> None:
    """Write a copy of an ONNX file with 8-bit weights.

    Raises:
        UserError: onnxruntime is not installed.
    """
    require("onnxruntime", "onnx")
    quantization = require("onnxruntime.quantization", "onnx")
    is_large = source.stat().st_size > _LARGE or source.with_name(f"{source.name}.data").exists()
    logging.disable(logging.WARNING)  # it recommends a preparation that changes nothing here
    try:
        quantization.quantize_dynamic(
            source, target, op_types_to_quantize=["MatMul"], per_channel=True,
            weight_type=quantization.QuantType.QInt8, use_external_data_format=is_large,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)


@dataclass(frozen=True)
class Loss:
    """Means over prompts.

    Attributes:
        same: IoU of quantised masks with those of full precision.
        full, quantised: IoU with the truth.
        num_prompts, num_images: that were asked.
        data: on what.
    """

    same: float
    full: float
    quantised: float
    num_prompts: int
    num_images: int
    data: str

    def sentence(self) -> str:
        return (
            f"int8 encoder: mIoU {self.same:.3f} with the masks of full precision; mIoU with the "
            f"truth {self.full:.3f} in full precision, {self.quantised:.3f} in int8 "
            f"({self.quantised - self.full:+.3f}; {self.num_prompts} boxes and points on "
            f"{self.num_images} images, {self.data})"
        )


def measure_loss(sam: Sam, folder: Path, encoder: str, settings: ExportSettings) -> Loss:
    """Ask both encoders for the objects of some images, each with its box and its centre point.

    Raises:
        UserError: there are no objects.
    """
    source: Source = settings.source or ProceduralScenes("val", num_scenes=settings.max_images)
    predictors = [OnnxPredictor(folder, sam.frame, name) for name in ("encoder.onnx", encoder)]
    rows: list[tuple[float, float, float]] = []
    count = min(settings.max_images, len(source.records))
    for index in range(count):
        sample = source.read(index)
        for predictor in predictors:
            predictor.set_image(sample.image)
        for mask, prompt in _asked(sample, settings.min_area):
            full, quantised = (_predict(predictor, prompt) for predictor in predictors)
            rows.append((_iou(full, quantised), _iou(full, mask), _iou(quantised, mask)))
    if not rows:
        raise UserError("there are no objects on which the loss of int8 could be measured")
    same, full_iou, quantised_iou = (mean(column) for column in zip(*rows, strict=True))
    data = "the run's validation split" if settings.source else "drawn scenes"
    return Loss(same, full_iou, quantised_iou, len(rows), count, data)


def _asked(sample: Sample, min_area: int) -> list[tuple[MaskArray, Prompt]]:
    asked = []
    for layer in sample.labels:
        for number in np.unique(layer[layer > 0]):
            mask = layer == number
            if mask.sum() >= min_area:
                point = np.array([centre_point(mask)], np.float32)
                asked.append((mask, Prompt(box_xyxy=mask_to_box(mask))))
                asked.append((mask, Prompt(point, np.ones(1, np.int64))))
    return asked


def _predict(predictor: OnnxPredictor, prompt: Prompt) -> MaskArray:
    """The first mask for a box, the best of three for a point."""
    masks, scores, _ = predictor.predict(prompt)
    best = 0 if prompt.box_xyxy is not None else 1 + int(scores[1:].argmax())
    return np.asarray(masks[best] > 0)


def _iou(one: MaskArray, other: MaskArray) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
