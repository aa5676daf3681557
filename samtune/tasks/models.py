"""`models`: the models known by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from samtune.tasks.results import Result, Rows
from samtune.wording import counted


@dataclass(frozen=True)
class Models(Result):
    """The models known by name.

    Attributes:
        rows: a row each.
    """

    rows: Rows

    @property
    def headline(self) -> str:
        return f"{counted(len(self.rows), 'model')}"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {"models": self.rows}


def models(*, long: bool = False) -> Models:
    """List the models known by name, with sizes, sources and licences.

    Args:
        long: with the address and sha256 of the authors' own file.
    """
    from samtune.models.registry import models_table

    return Models(models_table(long))
