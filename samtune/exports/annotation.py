"""A model folder for AnyLabeling and X-AnyLabeling: `encoder.onnx`, `decoder.onnx` and their YAML.

The YAML: "Custom Models for Auto Labeling" (https://anylabeling.nrl.ai/docs/custom-models) and
configs/auto_labeling/{segment_anything_vit_b,sam_hq_vit_b,sam2_hiera_tiny}.yaml with
services/auto_labeling/model_manager.py of https://github.com/CVHub520/X-AnyLabeling: `type`, `name` (a
file name's characters), `display_name` and the paths, relative to the file; SAM and SAM-HQ also
`input_size`, `max_width` and `max_height`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from samtune.errors import UserError
from samtune.exports.agreement import compare_masks
from samtune.exports.exported import Exported, ExportSettings
from samtune.exports.extras import write_extras
from samtune.exports.graphs import INPUTS, OUTPUTS, PROMPT_INPUTS, feature_names
from samtune.exports.int8 import quantise
from samtune.exports.onnx import BOUND, FREE_POINTS, traced_prompt
from samtune.exports.onnx_session import TorchPredictor, open_session
from samtune.exports.same_answers import merge_checked, require_equal
from samtune.exports.tool_graphs import (
    CANVAS,
    PictureEncoder,
    PyramidDecoder,
    PyramidEncoder,
    ToolDecoder,
)
from samtune.exports.tool_session import PictureTool, PyramidTool
from samtune.exports.torch_graphs import write_onnx
from samtune.models.backend import Sam
from samtune.types import InputFrame

_SIZES = {"input_size": CANVAS, "max_width": CANVAS, "max_height": 682}


@dataclass(frozen=True)
class _Graphs:
    """Modules, the inputs that they are traced with, names and free axes of each."""

    encoder: nn.Module
    picture: Tensor
    encoder_names: tuple[tuple[str, ...], tuple[str, ...]]
    free_picture: dict[str, dict[int, str]]
    decoder: nn.Module
    prompt: list[Tensor]
    decoder_names: tuple[tuple[str, ...], tuple[str, ...]]


def export_annotation(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Merge, trace, check in onnxruntime and in the tools' own steps, write the YAML.

    Raises:
        UserError: the tools have no type for this family, or onnx is not installed.
    """
    kind = sam.family.tool_type
    if not kind or sam.frame.mean != InputFrame(0).mean:
        raise UserError(
            f"AnyLabeling and X-AnyLabeling have no type for {sam.family.name} models with points and "
            "boxes alone: choose --to onnx"
        )
    checks = [merge_checked(sam)[1]]
    graphs = _picture_graphs(sam) if sam.frame.keeps_aspect else _pyramid_graphs(sam)
    checks.append(_write_graphs(graphs, folder))
    tool = PictureTool if sam.frame.keeps_aspect else PyramidTool
    same = compare_masks(TorchPredictor(sam), tool(folder), settings)
    checks.append(f"as the tools call it, {same.sentence('samtune', 'the tool')}")
    encoder = "encoder.onnx"
    if settings.is_int8:
        encoder = "encoder.int8.onnx"
        quantise(folder / "encoder.onnx", folder / encoder)
        loss = compare_masks(tool(folder), tool(folder, encoder), settings)
        checks.append(f"int8 encoder, {loss.sentence('full precision', 'int8')}")
        for path in folder.glob("encoder.onnx*"):
            path.unlink()
    files = {encoder: "the encoder", "decoder.onnx": "the decoder"}
    for name, config in configs(kind, settings.name, encoder).items():
        (folder / name).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        files[name] = f"the model's entry for {_tools_of(name, kind)}"
    files |= write_extras(sam, folder)
    return Exported("onnx", files, _usage(kind), tuple(checks), _notes(sam))


def configs(kind: str, name: str, encoder: str) -> dict[str, dict[str, Any]]:
    """File name -> contents of the YAML files."""

    def config(kind: str, sizes: dict[str, int]) -> dict[str, Any]:
        return {
            "type": kind, "name": name, "display_name": name, "encoder_model_path": encoder,
            "decoder_model_path": "decoder.onnx", **sizes,
        }  # fmt: skip

    if kind == "segment_anything_2":
        return {
            "config.yaml": config("segment_anything", _SIZES),
            "x_anylabeling.yaml": config(kind, {}),
        }
    return {"config.yaml": config(kind, _SIZES)}


def _tools_of(file: str, kind: str) -> str:
    if kind == "segment_anything":
        return "AnyLabeling and X-AnyLabeling"
    is_x = kind == "sam_hq" or file.startswith("x_")
    return "X-AnyLabeling" if is_x else "AnyLabeling"


def _picture_graphs(sam: Sam) -> _Graphs:
    encoder, names = PictureEncoder(sam), feature_names(sam)
    picture = torch.rand(684, CANVAS, 3) * 255
    with torch.no_grad():
        main, *details = encoder(picture)
    prompt = [*traced_prompt(CANVAS, CANVAS // 4), torch.tensor([684.0, CANVAS])]
    return _Graphs(
        encoder, picture, (("input_image",), names),
        {"input_image": {0: "height", 1: "width"}},
        ToolDecoder(sam), [main, *(detail[None] for detail in details), *prompt],
        ((*names, *INPUTS), OUTPUTS),
    )  # fmt: skip


def _pyramid_graphs(sam: Sam) -> _Graphs:
    encoder, side = PyramidEncoder(sam), sam.image_size
    picture = torch.randn(1, 3, side, side)
    with torch.no_grad():
        *details, main = encoder(picture)
    maps = feature_names(sam)[1:]
    return _Graphs(
        encoder, picture, (("image",), (*maps, "image_embed")), {},
        PyramidDecoder(sam), [main, *details, *traced_prompt(side, sam.mask_side)],
        (("image_embed", *maps, *PROMPT_INPUTS), OUTPUTS[:2]),
    )  # fmt: skip


@torch.no_grad()
def _write_graphs(graphs: _Graphs, folder: Path) -> str:
    """Write both, and compare them with torch for points, boxes and both."""
    encoder, decoder = folder / "encoder.onnx", folder / "decoder.onnx"
    write_onnx(graphs.encoder, [graphs.picture], encoder, graphs.encoder_names, graphs.free_picture)
    free = dict(FREE_POINTS)
    if "masks" in graphs.decoder_names[1] and "orig_im_size" in graphs.decoder_names[0]:
        free["masks"] = {2: "height", 3: "width"}
    write_onnx(graphs.decoder, graphs.prompt, decoder, graphs.decoder_names, free)
    found, expected = _run(encoder, graphs.encoder_names[0], [graphs.picture]), []
    expected += graphs.encoder(graphs.picture)
    places = graphs.decoder_names[0].index("point_coords")
    generator = torch.Generator().manual_seed(0)
    for labels in ([1, -1], [1, 0, -1], [2, 3, -1], [1, 0, 1, 0, 2, 3, -1]):
        prompt = list(graphs.prompt)
        prompt[places] = torch.rand(1, len(labels), 2, generator=generator) * 600
        prompt[places + 1] = torch.tensor([labels], dtype=torch.float32)
        prompt[places + 3] = torch.zeros(1)
        found += _run(decoder, graphs.decoder_names[0], prompt)
        expected += graphs.decoder(*prompt)
    return require_equal("onnxruntime against torch", found, expected, BOUND)


def _run(path: Path, names: tuple[str, ...], inputs: list[Tensor]) -> list[Tensor]:
    values = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return [torch.from_numpy(np.asarray(each)) for each in open_session(path).run(None, values)]


def _usage(kind: str) -> str:
    lines = ["- X-AnyLabeling: AI panel, `Load Custom Model`, choose "]
    lines[0] += "`x_anylabeling.yaml`." if kind == "segment_anything_2" else "`config.yaml`."
    if kind != "sam_hq":
        lines.append("- AnyLabeling (0.2.22 or newer): `Load Custom Model`, choose `config.yaml`.")
    lines.append(
        "- labelme runs the models of its own list alone, and has no setting for a file; the "
        "interface that it calls is that of `samtune export --to onnx`."
    )
    return "\n".join(lines)


def _notes(sam: Sam) -> tuple[str, ...]:
    notes = []
    if sam.frame.keeps_aspect:
        notes.append(
            "The tools draw every picture onto 1024 x 684 pixels, upright ones smaller than the model "
            "could take them."
        )
    if not sam.reading.is_plain:
        notes.append(
            "The tools show and send 8-bit RGB pictures as they are, but the model was tuned on images "
            "read as told above: bring yours to that first."
        )
    return tuple(notes)
