"""The authors' own checkpoint file, under their names, which their code loads.

Sources of the names: models/official/*.py. SAM, SAM-HQ and MobileSAM files hold the state dict itself;
SAM 2's hold it under "model", and have parts for videos that are no part of an image model: they are
taken over from the base's file, where that was the base.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from samtune.errors import UserError
from samtune.exports.exported import Exported, ExportSettings
from samtune.exports.extras import write_extras
from samtune.exports.same_answers import merge_checked, require_equal, sample_answers
from samtune.models.backend import Sam
from samtune.models.families.sam import OFFICIAL_DECODER_EPS
from samtune.models.identity import BaseIdentity
from samtune.models.loading import load_model
from samtune.models.registry import REGISTRY
from samtune.models.weights import read_weights, set_decoder_eps

_BUILDERS = {"vit_b", "vit_l", "vit_h", "mobile_sam"}


def export_official(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Merge, write `NAME.pth`, read it again strictly and compare.

    Raises:
        UserError: the family's authors have no layout but transformers'.
    """
    merged, check = merge_checked(sam)
    checks = [check]
    state = {key: value.contiguous() for key, value in sam.family.to_official().items()}
    has_video = sam.family.official_code[0] == "sam2"
    with_video = has_video and _add_video_parts(state, sam.base)
    path = folder / f"{settings.name}.pth"
    torch.save(sam.family.official_file(state), path)
    again = load_model(path, image_size=sam.image_size)
    eps = _decoder_eps(sam)
    set_decoder_eps(again.network, eps)
    checks.append(require_equal("read again strictly", sample_answers(again), merged, 1e-5))
    files = {path.name: f"{len(state)} tensors under the authors' names, nothing else"}
    files |= write_extras(sam, folder)
    return Exported(
        sam.family.official_code[0], files, _usage(sam, path.name, with_video), tuple(checks),
        tuple(_notes(sam, eps, has_video and not with_video)),
    )  # fmt: skip


def _decoder_eps(sam: Sam) -> float:
    config = sam.core.config.mask_decoder_config
    return float(getattr(config, "layer_norm_eps", OFFICIAL_DECODER_EPS))


def _add_video_parts(state: dict[str, Tensor], base: BaseIdentity) -> bool:
    """Take what an image model has not from the base's official file; `False` without one."""
    file = Path(base.checkpoint or base.name)
    if (base.name in REGISTRY and not base.checkpoint) or not file.is_file():
        return False
    found: Mapping[str, Tensor] = read_weights(file)
    if not state.keys() <= found.keys():
        raise UserError(f"{file} is not the official file of the base any more: restore it")
    state.update({key: value for key, value in found.items() if key not in state})
    return True


def _usage(sam: Sam, file: str, with_video: bool) -> str:
    name = sam.base.name.removeprefix("hq_")
    if name == "medsam":
        name = "vit_b"
    package, owner = sam.family.official_code
    if package == "sam2":
        return _usage_of_sam2(file, with_video)
    if name not in _BUILDERS:
        return (
            f"Load `{file}` into a network of the base's size built with `{package}"
            f"{f' of {owner}' * bool(owner)}`'s "
            "classes (its `sam_model_registry` builds the published sizes alone), or "
            f'`samtune.load_model("{file}")`.'
        )
    kind = "vit_t" if name == "mobile_sam" else name
    return f"""```python
from {package} import SamPredictor, sam_model_registry

predictor = SamPredictor(sam_model_registry["{kind}"](checkpoint="{file}"))
```"""


def _usage_of_sam2(file: str, with_video: bool) -> str:
    """Its builder loads strictly: https://github.com/facebookresearch/sam2, sam2/build_sam.py."""
    config = "  # the config of the base, such as configs/sam2.1/sam2.1_hiera_t.yaml"
    lines = [f'model = build_sam2(config, "{file}"){config}']
    if not with_video:
        lines = [
            f"model = build_sam2(config, None){config}",
            f'state = torch.load("{file}", weights_only=True)["model"]',
            "model.load_state_dict(state, strict=False)  # the parts for videos are not in the file",
        ]
    imports = ["import torch"] * (not with_video) + ["from sam2.build_sam import build_sam2"]
    return "\n".join(["```python", *imports, "", *lines, "```"])


def _notes(sam: Sam, eps: float, without_video: bool) -> list[str]:
    notes = []
    if eps != OFFICIAL_DECODER_EPS:
        notes.append(
            f"The decoder was tuned with a layer norm eps of {eps:g}, the authors' code has "
            f"{OFFICIAL_DECODER_EPS:g}: their answers differ in the fifth digit."
        )
    spec = REGISTRY.get(sam.base.name)
    if spec and spec.image_size != sam.image_size:
        notes.append(
            f"Trained at an input of {sam.image_size} pixels: the authors' builder makes one of "
            f"{spec.image_size}, and position tables of other sizes do not fit it."
        )
    if without_video:
        notes.append(
            "The parts for videos are missing, so that sam2's own strict loading refuses the file (the "
            "code above takes it, for images): export again from a run whose base was the official .pt "
            "to have them."
        )
    return notes
