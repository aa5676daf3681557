"""`encoder.onnx` and `decoder.onnx`, in the interface of segment_anything's exporter and of labelme.

The encoder takes pixel values that are resized, normalised and padded, as labelme's SAM does (input `x`;
osam/_models/sam in https://github.com/wkentaro/osam): Pillow's antialiased resizing has no equal among
ONNX's operators, and fixed shapes suit every runtime. The decoder is segment_anything's, see graphs.py.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from samtune.data.preprocess import to_pixel_values
from samtune.export.checking import require_equal, sample_answers
from samtune.export.exported import Exported, ExportSettings
from samtune.export.graphs import DETAILS, INPUTS, OUTPUTS, DecoderGraph, EncoderGraph
from samtune.export.int8 import measure_loss, quantise
from samtune.export.session import OnnxPredictor
from samtune.export.tracing import write_onnx
from samtune.geometry import logits_to_original, prompt_to_input
from samtune.models.backend import Sam
from samtune.models.lora import merge
from samtune.prompts.packing import pack
from samtune.types import FloatArray, ImageArray, Prompt

BOUND = 1e-3


def export_onnx(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Merge, trace, and compare both graphs with torch for prompts and image sizes of many kinds.

    Raises:
        UserError: onnx or onnxruntime is not installed.
    """
    tuned = sample_answers(sam)
    merge(sam)
    checks = [require_equal("merged, against apart", sample_answers(sam), tuned, 1e-3)]
    write_encoder(sam, folder / "encoder.onnx")
    write_decoder(DecoderGraph(sam), folder / "decoder.onnx")
    checks.append(check_onnx(sam, folder))
    files = {
        "encoder.onnx": f"`x` (1, 3, {sam.image_size}, {sam.image_size}) -> "
        + ", ".join(f"`{name}`" for name in feature_names(sam)),
        "decoder.onnx": "a prompt -> `masks` (1, 4, H, W) logits, `iou_predictions`, `low_res_masks`",
    }
    if settings.is_int8:
        quantise(folder / "encoder.onnx", folder / "encoder.int8.onnx")
        loss = measure_loss(sam, folder, "encoder.int8.onnx", settings)
        checks.append(loss.sentence())
        files["encoder.int8.onnx"] = "the same with 8-bit weights in its linear layers"
    return Exported("onnx", files, _usage(sam), tuple(checks), _notes(sam))


def feature_names(sam: Sam) -> tuple[str, ...]:
    """Outputs of the encoder that the decoder takes."""
    return ("image_embeddings", *DETAILS[sam.family.name])


def write_encoder(sam: Sam, path: Path) -> None:
    side = sam.image_size
    write_onnx(
        EncoderGraph(sam), [torch.randn(1, 3, side, side)], path, (["x"], feature_names(sam)), {}
    )


@torch.no_grad()
def write_decoder(graph: DecoderGraph, path: Path) -> None:
    """Trace a decoder with five points; their number and the size of the image stay free."""
    side, sam = graph.sam.image_size, graph.sam
    features = sam.encode(torch.zeros(1, 3, side, side))
    mask_side = graph.prompt_side // 4 if graph.prompt_side != side else sam.mask_side
    inputs = [
        features.main, *features.details, torch.rand(1, 5, 2) * side,
        torch.tensor([[0.0, 1, 2, 3, -1]]), torch.randn(1, 1, mask_side, mask_side),
        torch.ones(1), torch.tensor([300.0, 400.0]),
    ]  # fmt: skip
    dynamic = {
        "point_coords": {1: "num_points"}, "point_labels": {1: "num_points"},
        "masks": {2: "height", 3: "width"},
    }  # fmt: skip
    write_onnx(graph, inputs, path, ((*feature_names(sam), *INPUTS), OUTPUTS), dynamic)


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
    predictor = OnnxPredictor(folder, sam.frame)
    found: list[Tensor] = []
    expected: list[Tensor] = []
    count = 0
    for hw in ((96, 128), (301, 97), (64, 64)):
        image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
        predictor.set_image(image)
        for prompt in sample_prompts(hw, sam.mask_side):
            found += map(torch.from_numpy, predictor.predict(prompt))
            expected += map(torch.from_numpy, torch_answers(sam, image, prompt))
            count += 1
    what = f"onnxruntime against torch, {count} prompts on 3 images"
    return require_equal(what, found, expected, BOUND)


@torch.no_grad()
def torch_answers(
    sam: Sam, image: ImageArray, prompt: Prompt
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What `OnnxPredictor.predict` should say: one mask, then three."""
    hw = (image.shape[0], image.shape[1])
    features = sam.encode(to_pixel_values(image, sam.frame)[None])
    packed, first = pack([prompt_to_input(prompt, hw, sam.frame)]), torch.zeros(1, dtype=torch.int64)
    answers = [sam.decode(features, first, packed, multimask) for multimask in (False, True)]
    low = torch.cat([each.low_res_logits for each in answers], 1)
    scores = torch.cat([each.iou_scores for each in answers], 1)
    masks = logits_to_original(low, hw, sam.frame)
    return masks[0].numpy(), scores[0].numpy(), low[0].numpy()


def _usage(sam: Sam) -> str:
    frame = sam.frame
    resize = (
        "scale = S / max(height, width)\n"
        "h, w = int(height * scale + 0.5), int(width * scale + 0.5)"
        if frame.keeps_aspect
        else "h, w = S, S"
    )
    inputs = "".join(f'"{name}": {name}, ' for name in feature_names(sam))
    names = ", ".join(feature_names(sam)) + ("," if len(feature_names(sam)) == 1 else "")
    padding = " A padding point (0, 0) with label -1 where there is no box." * frame.keeps_aspect
    return f"""```python
import numpy as np
import onnxruntime
from PIL import Image

S = {frame.side}
image = Image.open("image.png").convert("RGB")
width, height = image.size
{resize}
x = np.asarray(image.resize((w, h), Image.Resampling.BILINEAR), np.float32)
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
    notes = []
    if not sam.frame.keeps_aspect:
        notes.append("The padding point of this family is part of the graph: give none.")
    if DETAILS[sam.family.name]:
        notes.append(
            "The decoder takes more of the image than segment_anything's: "
            + ", ".join(f"`{name}`" for name in DETAILS[sam.family.name])
            + "."
        )
    return tuple(notes)


