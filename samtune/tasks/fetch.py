"""`fetch`: a known data set, ready to train on."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError
from samtune.files import require_new
from samtune.tasks.arguments import task
from samtune.tasks.results import Result, Rows

if TYPE_CHECKING:
    from samtune.data.fetch.recipe import Recipe

log = logging.getLogger(__name__)
_WIDTH = 100


@dataclass(frozen=True)
class Fetched(Result):
    """A data set that is there.

    Attributes:
        folder: with its config.yaml.
        counts: images by split.
        expected: how many the published set has.
        unit: what an image is.
    """

    folder: Path
    counts: dict[str, int]
    expected: int
    unit: str

    @property
    def headline(self) -> str:
        told = ", ".join(f"{split} {number}" for split, number in self.counts.items())
        lines, total = [f"{self.folder}: {self.unit}: {told}"], sum(self.counts.values())
        if total != self.expected:
            lines.append(f"the published set has {self.expected} {self.unit}, this one has {total}")
        return "\n".join([*lines, f"next: samtune fit --config {self.folder / 'config.yaml'}"])

    @property
    def tables(self) -> Mapping[str, Rows]:
        rows: Rows = [{"split": split, "images": number} for split, number in self.counts.items()]
        return {"splits": rows}


@task
def fetch(
    name: str = "",
    *,
    out: str | Path | None = None,
    archives: Sequence[str | Path] = (),
    overwrite: bool = False,
    agree: Callable[[], bool] | None = None,
) -> Fetched | None:
    """Fetch a known data set, check it, and arrange it with its usual splits and a config.yaml.

    Archives are kept in ~/.cache/samtune/downloads or $SAMTUNE_CACHE; a download that broke off goes
    on.

    Args:
        name: which data set; without a name the command lists them.
        out: folder to write (default: data/NAME).
        archives: archives that you downloaded yourself, or folders they were unpacked to.
        overwrite: replace a folder that is there.
        agree: is asked before a download, when the terms have been told; without it they are taken.

    Returns:
        The data set; `None` if its terms were not agreed to.

    Raises:
        UserError: the data set is unknown, cannot be fetched, or is not what was published.
    """
    from samtune.data.fetch.build import build
    from samtune.data.fetch.recipe import read_recipe

    if not name:
        names = ", ".join(str(each["data set"]) for each in known_sets())
        raise UserError(f"name a data set: {names}")
    recipe, given = read_recipe(name), [Path(archive) for archive in archives]
    folder = Path(out) if out is not None else Path("data") / name
    require_new(folder, overwrite)
    for path in given:
        if not path.exists():
            raise UserError(f"there is no archive or folder {path}")
    told = described(name, recipe)
    log.info(told)
    if recipe.access and not given:
        raise UserError(
            f"{name} cannot be fetched by a program: {recipe.access} Then: samtune fetch {name} "
            "--archives ARCHIVE_OR_FOLDER"
        )
    if not given and agree is not None and not agree():
        return None
    given = given or _fetch_archives(name, recipe)
    hashes = _hashes(recipe, given)
    for line in hashes:
        log.info(line)
    counts = build(recipe, given, folder, "\n".join([told, "", *hashes, ""]))
    unit = "slices" if recipe.layout.kind == "brain" else "images"
    return Fetched(folder, counts, recipe.images, unit)


def known_sets() -> Rows:
    """The data sets that `fetch` knows."""
    from samtune.data.fetch.recipe import read_recipe, recipe_names

    recipes = {name: read_recipe(name) for name in recipe_names()}
    return [
        {
            "data set": name, "size": recipe.size, "licence": recipe.licence,
            "by hand": bool(recipe.access),
        }
        for name, recipe in recipes.items()
    ]  # fmt: skip


def described(name: str, recipe: Recipe) -> str:
    """What one should know before fetching a data set, line by line."""
    facts = {
        "": f"{name}: {recipe.title}",
        "licence": recipe.licence,
        "citation": recipe.citation,
        "home page": recipe.home,
        "download": recipe.size,
        "splits": recipe.division.how,
        "notes" if recipe.verified else "unverified": recipe.notes,
    }
    return "\n".join(_wrapped(label, text) for label, text in facts.items() if text)


def _wrapped(label: str, text: str) -> str:
    if not label:
        return text
    return textwrap.fill(
        text, _WIDTH, initial_indent=f"{label + ':':<12}", subsequent_indent=" " * 12,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _fetch_archives(name: str, recipe: Recipe) -> list[Path]:
    """Fetch all archives; folders of single files are one folder together."""
    from samtune.data.fetch.download import cache_folder, fetch_archive

    folder = cache_folder() / name
    found = [fetch_archive(archive, folder) for archive in recipe.archives]
    return list(dict.fromkeys(folder if path.is_dir() else path for path in found))


def _hashes(recipe: Recipe, given: list[Path]) -> list[str]:
    """The sha256 of each archive, and whether it is the published one."""
    from samtune.data.fetch.download import digest_of

    published = {archive.name: archive for archive in recipe.archives}
    lines = []
    for path in given:
        if path.is_dir():
            continue
        archive = published.get(path.name)
        sha256 = digest_of(path)
        known = archive.sha256 if archive else ""
        verdict = (
            "as published" if known == sha256
            else f"but {known} was published: is it a repacked or damaged one?" if known
            else "as published (by its md5)" if archive and archive.md5 == digest_of(path, "md5")
            else "no sha256 is published to compare it with"
        )  # fmt: skip
        lines.append(f"{path.name}: sha256 {sha256}, {verdict}")
    return lines
