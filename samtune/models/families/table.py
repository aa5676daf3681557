"""Which family a network, a folder or a file belongs to."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from samtune.models.families.base import Family
from samtune.models.families.edgetam import EdgeTamFamily
from samtune.models.families.mobile_sam import MobileSamFamily
from samtune.models.families.sam import SamFamily
from samtune.models.families.sam2 import Sam2Family
from samtune.models.families.sam3 import Sam3Family
from samtune.models.families.sam_hq import SamHQFamily

FAMILIES: dict[str, type[Family]] = {
    family.name: family
    for family in (
        SamFamily, SamHQFamily, Sam2Family, Sam3Family, EdgeTamFamily, MobileSamFamily,
    )
}  # fmt: skip
_BY_TYPE = {kind: family for family in FAMILIES.values() for kind in family.model_types}


def find_family(core: Any) -> Family:
    """The family of a network, by the `model_type` of its configuration."""
    return _BY_TYPE[core.config.model_type](core)


def family_of_type(model_type: str | None) -> type[Family] | None:
    """The family that serves a transformers folder with this `model_type`."""
    return _BY_TYPE.get(model_type or "")


def family_of_official(state: Mapping[str, Tensor]) -> type[Family] | None:
    """The family whose authors write such a checkpoint."""
    return next((family for family in FAMILIES.values() if family.is_official(state)), None)


def known_types() -> str:
    """All `model_type`s that are served, for messages."""
    return ", ".join(sorted(_BY_TYPE))
