"""`encoder.onnx` and `decoder.onnx`, in the interface of segment_anything's exporter and of labelme.

The encoder takes pixel values that are resized, normalised and padded, as labelme's SAM does (input
`x`; osam/_models/sam in https://github.com/wkentaro/osam): Pillow's antialiased resizing has no equal
among ONNX's operators, and fixed shapes suit every runtime. The decoder is segment_anything's, see
graphs.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samtune.exports.agreement import compare_masks
from samtune.exports.exported import Exported, ExportSettings
from samtune.exports.extras import write_extras
from samtune.exports.graphs import (
    INPUTS,
    OUTPUTS,
    DecoderGraph,
    EncoderGraph,
    HeadGraph,
    feature_names,
)
from samtune.exports.int8 import quantise
from samtune.exports.onnx_session import OnnxPredictor, TorchPredictor, open_session
from samtune.exports.reading_code import reading_code, reading_imports, reading_note
from samtune.exports.same_answers import merge_checked, require_equal
from samtune.exports.torch_graphs import write_onnx
from samtune.models.backend import Sam
from samtune.types import Prompt
from samtune.wording import counted

BOUND = 1e-3
FREE_POINTS = {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}


def export_onnx(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Merge, trace, and compare both graphs with torch for prompts and image sizes of many kinds.

    Raises:
        UserError: onnx or onnxruntime is not installed.
    """
    checks = [merge_checked(sam)[1]]
    write_encoder(sam, folder / "encoder.onnx")
    write_decoder(sam, folder / "decoder.onnx")
    checks.append(check_onnx(sam, folder))
    files = {
        "encoder.onnx": f"`x` (1, 3, {sam.image_size}, {sam.image_size}) -> "
        + ", ".join(f"`{name}`" for name in feature_names(sam)),
        "decoder.onnx": "a prompt -> `masks` (1, 4, H, W) logits, `iou_predictions`, `low_res_masks`",
    }
    if settings.is_int8:
        quantise(folder / "encoder.onnx", folder / "encoder.int8.onnx")
        files["encoder.int8.onnx"] = "the same with 8-bit weights in its linear layers"
        loss = compare_masks(
            OnnxPredictor(sam, folder), OnnxPredictor(sam, folder, "encoder.int8.onnx"), settings
        )
        checks.append(f"int8 encoder, {loss.sentence('full precision', 'int8')}")
    for name in sam.heads:
        checks.append(write_head(sam, name, folder / f"head_{name}.onnx"))
        files[f"head_{name}.onnx"] = f"`x` -> `maps`, encoder and head in one; {_told(sam, name)}"
    files |= write_extras(sam, folder)
    return Exported("onnx", files, _usage(sam), tuple(checks), _notes(sam))


def write_encoder(sam: Sam, path: Path) -> None:
    pixels = torch.randn(1, 3, sam.image_size, sam.image_size)
    write_onnx(EncoderGraph(sam), [pixels], path, (["x"], feature_names(sam)), {})


def write_head(sam: Sam, name: str, path: Path) -> str:
    """Write the encoder with a head as one graph, and compare it with torch.

    Raises:
        UserError: its maps differ by more than 1e-3.
    """
    graph = HeadGraph(sam, name)
    pixels = torch.randn(1, 3, sam.image_size, sam.image_size)
    write_onnx(graph, [pixels], path, (["x"], ["maps"]), {})
    with torch.no_grad():
        expected = graph(pixels)
    (found,) = open_session(path).run(None, {"x": pixels.numpy()})
    return require_equal(f"head {name}", [torch.from_numpy(found)], [expected], BOUND)


def _told(sam: Sam, name: str) -> str:
    """What the maps of a head are, and how images are shown to it."""
    head: Any = sam.heads[name]
    settings = ", ".join(f"{key} {value}" for key, value in head.settings.items())
    views = f"views of {head.tile} pixels" if head.tile else "whole images"
    return f"{head.meaning}; {views}; {settings}"


@torch.no_grad()
def write_decoder(sam: Sam, path: Path) -> None:
    """The number of points and the size of the image stay free."""
    features = EncoderGraph(sam)(torch.zeros(1, 3, sam.image_size, sam.image_size))
    inputs = [*features, *traced_prompt(sam.image_size, sam.mask_side), torch.tensor([300.0, 400])]
    names = (*feature_names(sam), *INPUTS), OUTPUTS
    dynamic = FREE_POINTS | {"masks": {2: "height", 3: "width"}}
    write_onnx(DecoderGraph(sam), inputs, path, names, dynamic)


def traced_prompt(side: int, mask_side: int) -> list[Tensor]:
    """A prompt of every kind of point to trace with, as `PROMPT_INPUTS` names its parts."""
    labels = torch.tensor([[0.0, 1, 2, 3, -1]])
    mask = torch.randn(1, 1, mask_side, mask_side)
    return [torch.rand(1, 5, 2) * side, labels, mask, torch.ones(1)]


def sample_prompts(hw: tuple[int, int], mask_side: int) -> list[Prompt]:
    """One to nine points, a box, both, and masks beside them, for an image of a size."""
    rng = np.random.default_rng(0)
    height, width = hw
    box = np.array([0.2 * width, 0.1 * height, 0.7 * width, 0.8 * height], np.float32)
    mask = rng.normal(0, 4, (mask_side, mask_side)).astype(np.float32)
    prompts = [Prompt(box_xyxy=box), Prompt(box_xyxy=box, mask_input=mask)]
    for count in (1, 2, 5, 9):
        coords = (rng.random((count, 2)) * (width, height)).astype(np.float32)
        labels = rng.integers(0, 2, count)
        prompts += [Prompt(coords, labels), Prompt(coords, labels, box)]
        prompts.append(Prompt(coords, labels, None, mask))
    return prompts


def check_onnx(sam: Sam, folder: Path) -> str:
    """Compare masks, scores and low-resolution logits with torch's.

    Raises:
        UserError: they differ by more than 1e-3.
    """
    predictors = OnnxPredictor(sam, folder), TorchPredictor(sam)
    found: list[Tensor] = []
    expected: list[Tensor] = []
    count = 0
    for hw in ((96, 128), (301, 97), (64, 64)):
        image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
        for predictor in predictors:
            predictor.set_image(image)
        for prompt in sample_prompts(hw, sam.mask_side):
            found += map(torch.from_numpy, predictors[0].predict(prompt))
            expected += map(torch.from_numpy, predictors[1].predict(prompt))
            count += 1
    what = f"onnxruntime against torch, {counted(count, 'prompt')} on 3 images"
    return require_equal(what, found, expected, BOUND)


def _usage(sam: Sam) -> str:
    frame = sam.frame
    resize = (
        "scale = S / max(height, width)\nh, w = int(height * scale + 0.5), int(width * scale + 0.5)"
        if frame.keeps_aspect
        else "h, w = S, S"
    )
    inputs = "".join(f'"{name}": {name}, ' for name in feature_names(sam))
    names = ", ".join(feature_names(sam)) + ("," if len(feature_names(sam)) == 1 else "")
    imports = "\n".join((*reading_imports(sam), "import onnxruntime"))
    padding = " A padding point (0, 0) with label -1 where there is no box." * frame.keeps_aspect
    return f"""```python
{imports}

{reading_code(sam)}

S = {frame.side}
height, width = image.shape[:2]
{resize}
x = Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
x = np.asarray(x, np.float32)
x = (x - np.float32({list(frame.mean)})) / np.float32({list(frame.std)})
x = np.pad(x, ((0, S - h), (0, S - w), (0, 0))).transpose(2, 0, 1)[None]
{names} = onnxruntime.InferenceSession("encoder.onnx").run(None, {{"x": x}})

box = np.array([[10, 20], [200, 180]]) * (w / width, h / height)  # corners, labels 2 and 3
masks, scores, low_res = onnxruntime.InferenceSession("decoder.onnx").run(None, {{
    {inputs}
    "point_coords": box[None].astype(np.float32),
    "point_labels": np.float32([[2, 3]]),
    "mask_input": np.zeros((1, 1, {sam.mask_side}, {sam.mask_side}), np.float32),
    "has_mask_input": np.zeros(1, np.float32),
    "orig_im_size": np.float32([height, width]),
}})
mask = masks[0, 0] > 0  # 0: for a box or several points; 1 to 3: best of three for a single point
```

Points have the label 1 inside the object and 0 outside.{padding}"""


def _notes(sam: Sam) -> tuple[str, ...]:
    notes = list(reading_note(sam))
    if not sam.frame.keeps_aspect:
        notes.append("The padding point of this family is part of the graph: give none.")
    if len(names := feature_names(sam)) > 1:
        listed = ", ".join(f"`{name}`" for name in names[1:])
        notes.append(f"The decoder takes more of the image than segment_anything's: {listed}.")
    return tuple(notes)
