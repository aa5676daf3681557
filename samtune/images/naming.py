"""The images of a folder by their names, and which of them a file of detections means.

Detections name images as their tool saw them: with the folders of another machine, by the stem (YOLO),
or by a number (Ultralytics writes the stem 000139 as 139).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from samtune.errors import UserError
from samtune.files import is_file, is_folder, plain_parts
from samtune.images.kinds import IMAGE_SUFFIXES, is_picture


def list_images(paths: Sequence[Path], without: Sequence[Path] = ()) -> dict[str, Path]:
    """Images by their place under the folder given, folders opened with all that is in them.

    Where that would be one name for two images, as many folders stand before it as tell them apart.

    Args:
        paths: folders and files.
        without: folders that are not looked into.

    Raises:
        UserError: a path does not exist, a name is no text, or there are no images.
    """
    places: dict[Path, str] = {}
    for path in paths:
        if not is_file(path) and not is_folder(path):
            raise UserError(f"there is no image {path}")
        for file in _images_under(path, without) if is_folder(path) else [path]:
            name = file.relative_to(path).as_posix() if file != path else file.name
            if not _is_text(name):
                raise UserError(f"the file name {name!a} is no text in UTF-8: rename it")
            places.setdefault(file, name)
    if not places:
        raise UserError(
            f"there are no images in {', '.join(map(str, paths)) or 'no folder'}: expected files that "
            f"end in {', '.join(IMAGE_SUFFIXES)}"
        )
    names, doubled = dict(places), set[Path]()
    # the longer name of one may be what another is called: that one gets a longer name too
    while again := _same_names(names) - doubled:
        doubled |= again
        names |= distinct_names([file for file in places if file in doubled])
    return dict(sorted((name, file) for file, name in names.items()))


def _same_names(names: dict[Path, str]) -> set[Path]:
    counts = Counter(names.values())
    return {file for file, name in names.items() if counts[name] > 1}


def _images_under(folder: Path, without: Sequence[Path]) -> list[Path]:
    left_out = {each.resolve() for each in without}
    return [
        file
        for file in sorted(folder.rglob("*"))
        if (file.is_file() or not file.exists())  # a link to nowhere is told by whoever reads it
        and is_picture(file)
        and left_out.isdisjoint(file.resolve().parents)
    ]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def distinct_names(paths: Sequence[Path]) -> dict[Path, str]:
    """File names of images; where one repeats, with as many folders before it as tell them apart.

    They do not depend on the order; one file that is given twice has one name.
    """
    parts = {path: (path.parent.resolve() / path.name).parts for path in paths}
    names: dict[Path, str] = {}
    for name in dict.fromkeys(path.name for path in paths):
        same = [path for path in paths if path.name == name]
        count, depth = len({parts[path] for path in same}), 1
        while len({parts[path][-depth:] for path in same}) < count:
            depth += 1
        names |= {path: "/".join(parts[path][-depth:]) for path in same}
    return names


def distinct_stems(names: dict[Path, str]) -> dict[Path, str]:
    """Names without their endings, but where that would make two of them one."""
    stems = {path: str(PurePosixPath(name).with_suffix("")) for path, name in names.items()}
    counts = Counter(stems[path] for path in {name: path for path, name in names.items()}.values())
    return {path: stem if counts[stem] == 1 else names[path] for path, stem in stems.items()}


def require_apart(files: Iterable[tuple[Path, Path]], images: Iterable[Path]) -> None:
    """Refuse to write two things to one place, or over an image that is read.

    Args:
        files: what is to be written, each with the image that it is for.
        images: what is read.

    Raises:
        UserError: that would happen.
    """
    taken = {path.resolve(): f"is the image {path}" for path in images}
    for file, image in files:
        if (place := file.resolve()) in taken:
            raise UserError(
                f"{file} is to be written for {image}, but {taken[place]}: name another folder, or "
                "rename the image"
            )
        taken[place] = f"is for {image} too"


def match_names(wanted: Iterable[str], images: dict[str, Path]) -> tuple[dict[str, str], set[str]]:
    """Find which image each name of a file means.

    Of images with that file name (else that stem, else that number) it is the one that shares most
    folders with the name. Where several names would mean one image, those whose folders are others
    do not.

    Args:
        wanted: names, paths or stems, as some file has them.
        images: from `list_images`.

    Returns:
        Names in `images` by wanted name, and the wanted names that could mean several images.
    """
    index = _index(images)
    parents = {name: path.absolute().parts[:-1] for name, path in images.items()}
    found: dict[str, str] = {}
    ambiguous: set[str] = set()
    is_exact: dict[str, bool] = {}
    for name in dict.fromkeys(wanted):
        *folders, last = plain_parts(name) or ("",)
        candidates = next((index[key] for key in _keys(last) if key in index), [])
        shared = [_num_shared(folders, parents[each]) for each in candidates]
        nearest = [each for each, n in zip(candidates, shared, strict=True) if n == max(shared)]
        if len(nearest) > 1:
            ambiguous.add(name)
        elif nearest:
            found[name], is_exact[name] = nearest[0], max(shared) == len(folders)
    claims = Counter(found.values())
    return {n: each for n, each in found.items() if is_exact[n] or claims[each] == 1}, ambiguous


def _keys(last: str) -> list[tuple[str, str]]:
    """Ways to look a file name up, the surest first."""
    keys = [("name", last), ("stem", last), ("stem", PurePosixPath(last).stem)]
    return [*keys, ("number", last.lstrip("0"))] if last.isdigit() else keys


def _index(images: dict[str, Path]) -> dict[tuple[str, str], list[str]]:
    index: dict[tuple[str, str], list[str]] = {}
    for name, path in images.items():
        keys = {("name", path.name), ("stem", path.stem)}
        if path.stem.isdigit():
            keys.add(("number", path.stem.lstrip("0")))
        for key in keys:
            index.setdefault(key, []).append(name)
    return index


def _num_shared(folders: list[str], parents: tuple[str, ...]) -> int:
    """How many folders are the same, counted from the file upwards."""
    pairs = zip(reversed(folders), reversed(parents), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(folders), len(parents)))
