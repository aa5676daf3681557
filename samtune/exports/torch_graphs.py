"""Modules to ONNX files, by torch's TorchScript exporter.

The newer exporter needs onnxscript and gives the same operators here; this one needs torch and onnx.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from samtune.errors import require

OPSET = 17
# A protobuf holds 2 GiB at most: from here on weights lie beside it, in one file
_LARGEST = 2**31 - 2**27


@torch.no_grad()
def write_onnx(
    module: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    names: tuple[Sequence[str], Sequence[str]],
    dynamic: dict[str, dict[int, str]],
) -> None:
    """Trace a module and write it as an ONNX file (and `path.data` beside it, if it is large).

    Args:
        module: in evaluation mode.
        inputs: that it is traced with.
        path: of the file.
        names: of inputs and outputs.
        dynamic: name -> axis -> what varies there.

    Raises:
        UserError: onnx is not installed.
    """
    onnx = require("onnx", "onnx")
    with TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are fixed in the graph, as they shall be
        traced = Path(folder) / path.name
        torch.onnx.export(
            module.eval(), tuple(inputs), str(traced), dynamo=False, opset_version=OPSET,
            input_names=list(names[0]), output_names=list(names[1]), dynamic_axes=dynamic,
        )  # fmt: skip
        save_model(onnx.load(str(traced)), path)
    onnx.checker.check_model(str(path))


def save_model(model: Any, path: Path, largest: int = _LARGEST) -> None:
    """Write an onnx model as one file, or with its weights in a second one."""
    onnx = require("onnx", "onnx")
    if model.ByteSize() < largest:
        onnx.save_model(model, str(path))
        return
    onnx.save_model(
        model, str(path), save_as_external_data=True, location=f"{path.name}.data",
        all_tensors_to_one_file=True,
    )  # fmt: skip
