"""`samtune data fetch [NAME]`: a known data set, ready to train on."""

import argparse
import sys
import textwrap
from pathlib import Path

from samtune.commands.options import parse_alone
from samtune.data.fetch.build import build
from samtune.data.fetch.download import cache_folder, digest_of, fetch_archive
from samtune.data.fetch.recipe import Recipe, read_recipe, recipe_names
from samtune.errors import UserError

_WIDTH = 100


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune data fetch",
        description="Fetch a known data set, check it, and arrange it with its usual splits and a "
        "config.yaml to train on it. Without NAME: list them. Archives are kept in "
        "~/.cache/samtune/downloads or $SAMTUNE_CACHE; a download that broke off goes on.",
        exit_on_error=False,
    )
    parser.add_argument("name", nargs="?", help="of the data set")
    parser.add_argument(
        "--out", type=Path, help="a folder that is not there yet (default: data/NAME)"
    )
    parser.add_argument(
        "--from", dest="given", type=Path, nargs="+", default=[], metavar="ARCHIVE_OR_FOLDER",
        help="all archives, or folders they were unpacked to, instead of a download",
    )  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def fetch(arguments: list[str]) -> None:
    """Run `samtune data fetch`.

    Raises:
        UserError: the data set is unknown, cannot be fetched, or is not what was published.
    """
    options = parse_alone(_parser(), arguments)
    if options.name is None:
        print(_listed())
        return
    recipe = read_recipe(options.name)
    out = options.out or Path("data") / options.name
    if out.exists():
        raise UserError(f"{out} is there already: name a new folder with --out")
    for path in options.given:
        if not path.exists():
            raise UserError(f"there is no archive or folder {path}")
    told = described(options.name, recipe)
    print(told, flush=True)
    if recipe.access and not options.given:
        raise UserError(
            f"{options.name} cannot be fetched by a program: {recipe.access} Then: samtune data "
            f"fetch {options.name} --from ARCHIVE_OR_FOLDER"
        )
    if not options.given and not options.yes and not _agrees():
        print("nothing was fetched")
        return
    given = options.given or _fetch_archives(options.name, recipe)
    hashes = _told_hashes(recipe, given)
    print("\n".join(hashes), flush=True)
    counts = build(recipe, given, out, "\n".join([told, "", *hashes, ""]))
    print(_told_result(recipe, out, counts))


def _listed() -> str:
    recipes = {name: read_recipe(name) for name in recipe_names()}
    lines = [
        f"{name:<25}{recipe.size + ('*' if recipe.access else ''):<9}{recipe.licence}"
        for name, recipe in recipes.items()
    ]
    last = "* to be fetched by hand; samtune data fetch NAME tells how"
    return "\n".join([f"{'data set':<25}{'size':<9}licence", *lines, last])


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


def _agrees() -> bool:
    """Ask, where somebody is there to answer."""
    if not sys.stdin.isatty():
        return True
    return input("fetch it under these terms? [y/N] ").strip().lower() in ("y", "yes")


def _fetch_archives(name: str, recipe: Recipe) -> list[Path]:
    """Fetch all archives; folders of single files are one folder together."""
    folder = cache_folder() / name
    found = [fetch_archive(archive, folder) for archive in recipe.archives]
    return list(dict.fromkeys(folder if path.is_dir() else path for path in found))


def _told_hashes(recipe: Recipe, given: list[Path]) -> list[str]:
    """The sha256 of each archive, and whether it is the published one."""
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


def _told_result(recipe: Recipe, out: Path, counts: dict[str, int]) -> str:
    unit = "slices" if recipe.layout.kind == "brain" else "images"
    lines = [f"{out}: {unit}: " + ", ".join(f"{split} {n}" for split, n in counts.items())]
    total = sum(counts.values())
    if total != recipe.images:
        lines.append(f"the published set has {recipe.images} {unit}, this one has {total}")
    return "\n".join([*lines, f"next: samtune fit --config {out / 'config.yaml'}"])
