"""8-bit weights for an encoder, by onnxruntime's dynamic quantisation of its linear layers.

Each output channel has its own scale. Decoders are small and stay as they are.
"""

import logging
from pathlib import Path

from samtune.errors import require

_LARGE = 2**30


def quantise(source: Path, target: Path) -> None:
    """Write a copy of an ONNX file with 8-bit weights.

    Raises:
        UserError: onnxruntime is not installed.
    """
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
