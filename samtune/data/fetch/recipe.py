"""What is known of a data set: where it lies, under which terms, how it is laid out and divided.

A recipe is a YAML file of `recipes/`. It states what was found in the sources that it names; what
could not be checked against the publisher's own files says `verified: false` and, in `notes`, why.
"""

from importlib.resources import files
from typing import Literal

import msgspec

from samtune.errors import UserError

Kind = Literal["binary", "classes", "colours", "objects", "volumes", "geo", "nuclei", "brain"]


class Archive(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file to be fetched, or all files that a page links to.

    Attributes:
        name: of the file (of an `index`: the folder) in the download cache.
        url: its address; empty where the site asks for a form or a registration.
        index: a page that links to files, instead of a `url`; those that end in `suffix` are taken.
        wheel: a requirement for pip, instead of a `url`; `pip` are further options of pip.
        sha256, md5: as published; empty if they are not.
        size: bytes as published; 0 if it is not.
    """

    name: str
    url: str = ""
    index: str = ""
    suffix: str = ""
    wheel: str = ""
    pip: list[str] = []
    sha256: str = ""
    md5: str = ""
    size: int = 0


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images and masks that share their ids.

    A pattern is the end of a path: `{id}` stands for the id, `*` for anything but a slash.

    Attributes:
        images, masks: patterns.
        split: that all of them belong to; empty if it is drawn or listed.
        id: of a single image, for patterns without `{id}`.
        is_optional: without masks the part is left out (some challenges keep those of the test).
    """

    images: str
    masks: str
    split: str = ""
    id: str = ""
    is_optional: bool = False


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images and masks lie in the archives.

    Attributes:
        kind: of masks: `binary` (above a value is the object), `classes` (values as they are),
            `colours` (the nearest of black and `colours`), `objects` (a file for each), `volumes`
            (NIfTI), `geo` (GeoTIFF with GeoJSON), or what `samples.py` makes.
        parts: what belongs together.
        above: greatest value of the background of `binary` masks.
        colours: `rrggbb` -> class.
        cut: side of the tiles that images are cut into, as the authors do; 0 for whole images.
        is_nested: the archives hold archives.
    """

    kind: Kind
    parts: list[Part] = []
    above: int = 127
    colours: dict[str, int] = {}
    cut: int = 0
    is_nested: bool = False


class Division(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How train, validation and test come about; what is not named is drawn by group, seed 0.

    Attributes:
        how: in a sentence, with its source.
        lists: split -> a file of ids in the archives.
        ids: split -> ids.
        group: a regular expression whose first group, in an id, names what must stay together.
        last: for numbered images: the last number of each group (video sequences).
        block: for GeoTIFFs: side of the square of land that stays together, in their coordinates.
    """

    how: str
    lists: dict[str, str] = {}
    ids: dict[str, list[str]] = {}
    group: str = ""
    last: list[int] = []
    block: float = 0.0


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All about a data set.

    Attributes:
        title, licence, citation, home: as its publishers state them.
        size: of the download, as told to people.
        images: how many the published set has.
        archives: what is fetched.
        access: how to get the archives where a program may not; empty otherwise.
        verified: everything here was seen to work on the published files.
        notes: what was not, and what else one should know.
        layout, division: see there.
        config: settings to train with; `$OUT` becomes the folder.
    """

    title: str
    licence: str
    citation: str
    home: str
    size: str
    images: int
    archives: list[Archive]
    access: str = ""
    verified: bool
    notes: str = ""
    layout: Layout
    division: Division
    config: str


_FOLDER = files("samtune.data.fetch") / "recipes"


def recipe_names() -> list[str]:
    """Names of all data sets."""
    return sorted(
        file.name.removesuffix(".yaml") for file in _FOLDER.iterdir() if file.name.endswith(".yaml")
    )


def read_recipe(name: str) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: there is none of that name.
    """
    if name not in recipe_names():
        raise UserError(f"there is no data set '{name}': choose from {', '.join(recipe_names())}")
    return msgspec.yaml.decode((_FOLDER / f"{name}.yaml").read_bytes(), type=Recipe)
