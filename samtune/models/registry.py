"""The models that samtune knows by name: name -> `ModelSpec`."""

from dataclasses import dataclass, replace
from typing import Any, Literal

SAM_CODE = "https://github.com/facebookresearch/segment-anything"
SAM_FILES = "https://dl.fbaipublicfiles.com/segment_anything"


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model before it is loaded.

    Attributes:
        name: how the command line and `load_model` call it.
        family: which network class serves it.
        image_size: side S of the square input, pixels.
        num_parameters: of the whole network, the positional matrix included.
        hub_id: repository with transformers weights; empty if there is none.
        url: the authors' own file; empty if there is none.
        sha256: of that file; empty where none is published.
        code_license, weights_license: SPDX names.
        vision, prompt_encoder, mask_decoder: what differs from transformers' defaults (ViT-B).
        origin: of the weights: downloaded from the `hub`, `bundled` with samtune, or a seeded `random`
            start.
    """

    name: str
    family: str
    image_size: int
    num_parameters: int
    hub_id: str
    url: str
    sha256: str
    code_license: str
    weights_license: str
    vision: dict[str, Any]
    prompt_encoder: dict[str, Any]
    mask_decoder: dict[str, Any]
    origin: Literal["hub", "bundled", "random"] = "hub"


def _official(
    name: str, parameters: int, hub_id: str, file: str, sha256: str, **vision: Any
) -> ModelSpec:
    url = file if file.startswith("https:") else f"{SAM_FILES}/{file}"
    return ModelSpec(
        name, "sam", 1024, parameters, hub_id, url, sha256, "Apache-2.0", "Apache-2.0",
        vision, {}, {},
    )  # fmt: skip


_VIT_L: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "global_attn_indexes": [5, 11, 17, 23],
}
_VIT_H: dict[str, Any] = {
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "global_attn_indexes": [7, 15, 23, 31],
}
_NANO = ModelSpec(
    "nano", "sam", 256, 3_806_080, "", "", "", "Apache-2.0", "Apache-2.0",
    vision={
        "hidden_size": 192,
        "output_channels": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "window_size": 8,
        "global_attn_indexes": [2, 5],
        "num_pos_feats": 64,
    },
    prompt_encoder={"hidden_size": 128},
    mask_decoder={"hidden_size": 128, "mlp_dim": 512, "iou_head_hidden_dim": 128},
    origin="bundled",
)  # fmt: skip

# Sources: hashes of Meta's files as listed by several projects that verified the downloads (the six
# digits in a file's name are of its MD5); MedSAM publishes no sha256.
REGISTRY: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        _official(
            "vit_b", 93_735_728, "facebook/sam-vit-base", "sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        ),
        _official(
            "vit_l", 312_343_088, "facebook/sam-vit-large", "sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", **_VIT_L,
        ),
        _official(
            "vit_h", 641_090_864, "facebook/sam-vit-huge", "sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", **_VIT_H,
        ),
        _official(
            "medsam", 93_735_728, "wanglab/medsam-vit-base",
            "https://zenodo.org/records/10689643/files/medsam_vit_b.pth", "",
        ),
        _NANO,
        # the same network before any training: the start of its pretraining
        replace(_NANO, name="nano_random", origin="random"),
    )
}  # fmt: skip


_WITHOUT_HUB = {"hub": "-", "bundled": "(comes with samtune)", "random": "(a random start)"}


def models_table() -> str:
    """The registry as a Markdown table."""
    lines = [
        "| model | parameters | input | hub id | official file | sha256 | code / weights |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in REGISTRY.values():
        lines.append(
            f"| {spec.name} | {spec.num_parameters / 1e6:.1f}M | {spec.image_size} "
            f"| {spec.hub_id or _WITHOUT_HUB[spec.origin]} | {spec.url or '-'} "
            f"| {spec.sha256 or '-'} | {spec.code_license} / {spec.weights_license} |"
        )
    return "\n".join(lines)
