"""From archives to a finished folder: unpack, arrange, and leave settings and origin beside it."""

import json
import tempfile
from pathlib import Path

from samtune.data.fetch.arrange import arrange
from samtune.data.fetch.extract import extract, extract_nested, require_space
from samtune.data.fetch.layout import wanted_in
from samtune.data.fetch.recipe import Recipe
from samtune.files import replacing_folder, write_text


def build(recipe: Recipe, given: list[Path], out: Path, origin: str) -> dict[str, int]:
    """Make the data set at `out`, with `config.yaml` to train on it and `README.txt`.

    Args:
        recipe: of the data set.
        given: archives, or folders that they were unpacked to, which stay as they are.
        out: the folder; it appears, or is replaced, when everything is done.
        origin: what `README.txt` says.

    Returns:
        Number of images of each split.

    Raises:
        UserError: an archive is missing, damaged or hostile, or its layout is another.
    """
    with replacing_folder(out) as folder, tempfile.TemporaryDirectory(dir=out.parent) as unpacked:
        folders = [_unpack(path, Path(unpacked), recipe) for path in given]
        is_ours = all(path.is_file() for path in given)
        counts = arrange(recipe, folders, folder, is_ours)
        write_text(folder / "config.yaml", config_text(recipe, out))
        write_text(folder / "README.txt", origin)
    return counts


def _unpack(path: Path, folder: Path, recipe: Recipe) -> Path:
    if path.is_dir():
        return path
    target = Path(tempfile.mkdtemp(dir=folder))
    require_space(path, target)
    extract(path, target, wanted_in(recipe))
    if recipe.layout.is_nested:
        extract_nested(target)
    return target


def config_text(recipe: Recipe, out: Path) -> str:
    """Settings for `samtune fit`, with the folder in its place."""
    text = recipe.config.replace("$OUT", json.dumps(str(out.resolve()), ensure_ascii=False))
    return f"# samtune fit --config {out / 'config.yaml'}\n#\n{text}"
