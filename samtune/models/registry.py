"""The models that samtune knows by name: name -> `ModelSpec`."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from samtune.errors import UserError

SAM_FILES = "https://dl.fbaipublicfiles.com/segment_anything"
SAM2_FILES = "https://dl.fbaipublicfiles.com/segment_anything_2"
HQ_FILES = "https://huggingface.co/lkeab/hq-sam/resolve/main"


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
        vision, prompt_encoder, mask_decoder: what differs from the family's defaults.
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
    vision: dict[str, Any] = field(default_factory=dict)
    prompt_encoder: dict[str, Any] = field(default_factory=dict)
    mask_decoder: dict[str, Any] = field(default_factory=dict)
    origin: Literal["hub", "bundled", "random"] = "hub"


def _sam(
    name: str, parameters: int, hub_id: str, file: str, sha256: str, **vision: Any
) -> ModelSpec:
    url = file if file.startswith("https:") else f"{SAM_FILES}/{file}"
    return ModelSpec(
        name, "sam", 1024, parameters, hub_id, url, sha256, "Apache-2.0", "Apache-2.0", vision
    )


def _sam_hq(size: str, parameters: int, hub_size: str, **vision: Any) -> ModelSpec:
    hub_id, url = f"syscv-community/sam-hq-vit-{hub_size}", f"{HQ_FILES}/sam_hq_{size}.pth"
    return ModelSpec(
        f"hq_{size}", "sam_hq", 1024, parameters, hub_id, url, "", "Apache-2.0", "Apache-2.0",
        vision,
    )  # fmt: skip


def _sam2(version: str, size: str, parameters: int, sha256: str) -> ModelSpec:
    released = {"2": "072824", "2.1": "092824"}[version]
    hub_id = f"facebook/sam{version}-hiera-{size.replace('_', '-')}"
    url = f"{SAM2_FILES}/{released}/sam{version}_hiera_{size}.pt"
    return ModelSpec(
        f"sam{version}_{size}", "sam2", 1024, parameters, hub_id, url, sha256, "Apache-2.0",
        "Apache-2.0", _HIERA[size],
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
# Source: sam2/configs/sam2.1/*.yaml; transformers' defaults are those of `tiny`.
_HIERA: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim_per_stage": [96, 192, 384, 768]},
    "small": {
        "embed_dim_per_stage": [96, 192, 384, 768],
        "blocks_per_stage": [1, 2, 11, 2],
        "global_attention_blocks": [7, 10, 13],
    },
    "base_plus": {
        "hidden_size": 112,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 3, 16, 3],
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 6, 36, 4],
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
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

# Sources: hashes as listed by several projects that verified the downloads (the six digits in the name
# of a file of SAM are of its MD5); MedSAM and SAM-HQ publish no sha256. Parameters of SAM 2 and 3 are
# those that segment images.
REGISTRY: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        _sam(
            "vit_b", 93_735_728, "facebook/sam-vit-base", "sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        ),
        _sam(
            "vit_l", 312_343_088, "facebook/sam-vit-large", "sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", **_VIT_L,
        ),
        _sam(
            "vit_h", 641_090_864, "facebook/sam-vit-huge", "sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", **_VIT_H,
        ),
        _sam(
            "medsam", 93_735_728, "wanglab/medsam-vit-base",
            "https://zenodo.org/records/10689643/files/medsam_vit_b.pth", "",
        ),
        _sam_hq("vit_b", 94_806_832, "base"),
        _sam_hq("vit_l", 313_676_336, "large", **_VIT_L),
        _sam_hq("vit_h", 642_686_256, "huge", **_VIT_H),
        _sam2(
            "2.1", "tiny", 31_440_721,
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        ),
        _sam2(
            "2.1", "small", 38_538_577,
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        ),
        _sam2(
            "2.1", "base_plus", 73_328_401,
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        ),
        _sam2(
            "2.1", "large", 216_924_865,
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        ),
        _sam2(
            "2", "tiny", 31_440_721,
            "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        ),
        _sam2(
            "2", "small", 38_538_577,
            "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        ),
        _sam2(
            "2", "base_plus", 73_328_401,
            "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        ),
        _sam2(
            "2", "large", 216_924_865,
            "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        ),
        ModelSpec(
            "sam3", "sam3", 1008, 458_260_369, "facebook/sam3", "", "", "Apache-2.0", "SAM License",
        ),
        ModelSpec(
            "edgetam", "edgetam", 1024, 0, "yonigozlan/EdgeTAM-hf", "", "", "Apache-2.0",
            "Apache-2.0",
        ),
        ModelSpec(
            "mobile_sam", "mobile_sam", 1024, 9_808_708, "",
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f", "Apache-2.0",
            "Apache-2.0",
        ),
        _NANO,
    )
}  # fmt: skip
# Networks before any training, to try a family without its weights; nano's pretraining starts from one.
for _name in ("nano", "vit_b", "mobile_sam", "sam2.1_tiny"):
    REGISTRY[f"{_name}_random"] = replace(
        REGISTRY[_name], name=f"{_name}_random", origin="random", hub_id="", url="", sha256=""
    )


_WITHOUT_HUB = {"hub": "-", "bundled": "(comes with samtune)", "random": "(a random start)"}


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f}M" if count else "-"


def models_table(long: bool = False) -> list[dict[str, str]]:
    """The registry, a row for each model.

    Args:
        long: with what stands in the way of a table that fits a terminal.
    """
    rows = []
    for spec in REGISTRY.values():
        row = {
            "model": spec.name, "parameters": _millions(spec.num_parameters),
            "input": str(spec.image_size), "from": spec.hub_id or _WITHOUT_HUB[spec.origin],
            "weights": spec.weights_license,
        }  # fmt: skip
        if long:
            row |= {
                "code": spec.code_license, "official file": spec.url or "-",
                "sha256": spec.sha256 or "-",
            }  # fmt: skip
        rows.append(row)
    return rows


def require_there(source: str) -> None:
    """Refuse what is neither a name, nor there, nor can be an id of the hub: asking there takes long.

    Raises:
        UserError: it is none of these.
    """
    path, parent = Path(source), Path(source).parent
    if source in REGISTRY or path.exists():
        return
    is_file = path.suffix in (".pth", ".pt", ".bin", ".safetensors", ".ckpt")
    if not is_file and source.count("/") == 1 and source[0] not in "./~" and not parent.is_dir():
        return
    folders = (
        sorted(each.name for each in parent.iterdir() if each.is_dir()) if parent.is_dir() else []
    )
    hint = f"; {parent} holds {', '.join(folders[:5])}" if folders and "/" in source else ""
    raise UserError(
        f"there is no model '{source}': it is neither a registry name ({', '.join(REGISTRY)}) nor an "
        f"existing file or folder{hint}"
    )
