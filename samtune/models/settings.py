"""Settings of what is trained, apart from torch, so that help is printed without it."""

from dataclasses import dataclass
from typing import Literal

from samtune.ranges import AboveZero, Positive, Share

Mode = Literal["lora", "decoder", "full"]
DecoderMode = Literal["frozen", "lora", "full"]
Quantization = Literal["none", "4bit", "8bit"]


@dataclass(frozen=True)
class LoraSettings:
    """How LoRA layers look and where in the encoder they sit.

    Attributes:
        rank: rank r of the update.
        alpha: scale of the update: alpha / rank (with rsLoRA alpha / sqrt(rank)).
        dropout: dropout before the update, 0 to 1.
        with_dora: weight-decomposed LoRA (arXiv 2402.09353): magnitude and direction apart.
        with_rslora: rank-stabilised scaling (arXiv 2312.03732).
        encoder: which encoder blocks get LoRA: none, the last `last_blocks`, or all.
        last_blocks: how many blocks from the end, with `encoder: last`.
        targets: which layers of a block: `qkv`; `attention` adds the projection; `all` adds the MLP.
    """

    rank: Positive = 8
    alpha: AboveZero = 16.0
    dropout: Share = 0.0
    with_dora: bool = False
    with_rslora: bool = False
    encoder: Literal["none", "last", "all"] = "all"
    last_blocks: Positive = 4
    targets: Literal["qkv", "attention", "all"] = "qkv"
