"""Which files of a folder are COCO's annotations, of which split, and where the images lie."""

from pathlib import Path

from samtune.data.coco_file import Image, holds_images
from samtune.data.splits import split_folders, splits_in, words_for
from samtune.errors import UserError
from samtune.files import ends_of, files_ending, find_file, is_file, plain_parts

# The other annotation files that COCO itself comes with.
_NOT_INSTANCES = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")


def coco_files(folder: Path) -> dict[str, list[Path]]:
    """COCO files of a folder by split, one each; or all of them under an empty key.

    Found are `train.json`, `annotations/instances_train2017.json` and `train/_annotations.coco.json`.
    COCO's own files of captions, keypoints and stuff hold no instances and are passed over. Where no
    name mentions a split, files are parts of one data set, such as the batches of a labelling tool.

    Raises:
        UserError: two files claim one split.
    """
    files = json_files(folder)
    own = splits_in(file.stem for file in files)
    names = {file: own.get(file.stem, "") for file in files}
    for inside, split in split_folders(folder).items():
        if (file := inside / "_annotations.coco.json").is_file():
            names[file] = split
    by_split: dict[str, Path] = {}
    for file, split in names.items():
        if split in by_split:
            raise UserError(f"{by_split[split]} and {file} both name the split '{split}'")
        if split:
            by_split[split] = file
    if by_split:
        return {split: [file] for split, file in by_split.items()}
    parts = files if len(files) == 1 else [file for file in files if holds_images(file)]
    return {"": parts} if parts else {}


def json_files(folder: Path) -> list[Path]:
    """JSON files that may hold instances."""
    files = sorted((*files_ending(folder, ".json"), *files_ending(folder / "annotations", ".json")))
    return [file for file in files if not file.stem.startswith(_NOT_INSTANCES)] or files


def image_root(annotations: Path, split: str, images: list[Image]) -> Path:
    """The folder that the file names start from: beside the JSON, or one of the usual places.

    Of a CVAT export that is images/SUBSET, whatever the subset is called.

    Raises:
        UserError: no image is in any of them, or the first that is lies in two folders of images/.
    """
    folder = annotations.parent
    words = words_for(split)
    names = [*words, *(f"{w}2017" for w in words), "images", *(f"images/{w}" for w in words)]
    subset = annotations.stem.removeprefix("instances_")
    names.append(f"images/{subset}")
    places = [folder, *(base / n for base in (folder, folder.parent) for n in names), folder.parent]
    inner = [each for base in (folder, folder.parent) for each in _folders_in(base / "images")]
    for image in images:
        if found := next((p for p in places if is_file(p / image.file_name)), None):
            return found
        if among := [place for place in inner if is_file(place / image.file_name)]:
            if len(among) > 1:
                raise UserError(
                    f"the image {image.file_name} of {annotations} is in {among[0]} and in "
                    f"{among[1]}: give the file names their folders, or call the file as one of them"
                )
            return among[0]
    named = (p for p in (*places, *inner) if is_file(find_image(p, images[0].file_name)))
    if found := next(named, None):
        return found
    raise UserError(
        f"the image {images[0].file_name} of {annotations} was not found under {folder} or "
        f"{folder.parent}"
    )


def find_image(root: Path, name: str) -> Path:
    """Where an image is, or is to be put: at the longest end of its name that is a file here.

    Names may be paths of another machine, or of Windows, or addresses.
    """
    place = root / name
    return place if is_file(place) else find_file(root, ends_of(plain_parts(name))) or place


def _folders_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.glob("*") if each.is_dir())
