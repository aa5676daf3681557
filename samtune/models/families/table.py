"""Which family a network belongs to."""

from typing import Any

from samtune.models.families.base import Family
from samtune.models.families.sam import SamFamily

FAMILIES: dict[str, type[Family]] = {family.name: family for family in (SamFamily,)}
_BY_TYPE = {kind: family for family in FAMILIES.values() for kind in family.model_types}


def find_family(core: Any) -> Family:
    """The family of a network, by the `model_type` of its configuration."""
    return _BY_TYPE[core.config.model_type](core)
