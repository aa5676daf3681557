"""Which format a path is in: recognised, or named by the user."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from samtune.data.geo.files import RASTER_SUFFIXES, holds_scenes
from samtune.data.json_index import first_character
from samtune.data.procedural import procedural_splits
from samtune.data.readers.coco import Coco
from samtune.data.readers.cvat import Cvat
from samtune.data.readers.geo import GeoScenes
from samtune.data.readers.hub import Hub, holds_rows, is_hub_name
from samtune.data.readers.label_studio import LabelStudio, label_studio_file
from samtune.data.readers.labelme import Labelme, is_labelme_folder
from samtune.data.readers.mask_folder import MaskFolder, image_folders
from samtune.data.readers.shards import Shards, shard_files
from samtune.data.readers.voc import Voc, voc_folder
from samtune.data.readers.volumes import Volumes
from samtune.data.readers.yolo import Yolo
from samtune.data.source import ReadSettings, Source
from samtune.data.splits import SplitSettings, split_folders, split_source, splits_in, with_groups
from samtune.data.volume_files import holds_volumes
from samtune.errors import UserError

# The other annotation files that COCO itself comes with.
_NOT_INSTANCES = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")

Format = Literal[
    "auto", "coco", "mask_folder", "yolo", "labelme", "volumes", "geo", "voc", "cvat",
    "label_studio", "shards", "hub", "procedural",
]  # fmt: skip

# Single files; of JSON what is inside decides.
_BY_SUFFIX: dict[str, Format] = {
    ".yaml": "yolo", ".yml": "yolo", ".xml": "cvat", ".tar": "shards", ".parquet": "hub",
    **dict.fromkeys(RASTER_SUFFIXES, "geo"),
}  # fmt: skip


def open_splits(
    path: Path, data_format: Format, settings: ReadSettings, splits: SplitSettings
) -> dict[str, Source]:
    """Open the data at `path` and divide it into `train`, `val` and `test`.

    Raises:
        UserError: the path does not exist, its format is not recognised, or a name is no text.
    """
    if data_format == "procedural":
        return procedural_splits(splits.seed)
    sources = _open(path, data_format, settings, splits)
    _require_text(str(path))
    for source in sources.values():
        for record in source.records:
            _require_text(f"the image {record.image_id} ({record.path.name})")
    return sources


def _require_text(name: str) -> None:
    """Refuse the name of a file that cannot be written into JSON, tables and pages."""
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = name.encode(errors="backslashreplace").decode()
            raise UserError(
                f"{shown} has a name that is not UTF-8: rename it (convmv renames whole folders)"
            ) from None


def _open(
    path: Path, data_format: Format, settings: ReadSettings, splits: SplitSettings
) -> dict[str, Source]:
    if not is_hub_name(path) and not path.exists():
        raise UserError(f"there is no data at {path}: set data.path to your folder or file")
    found = recognise(path) if data_format == "auto" else data_format
    whole: dict[str, Callable[[Path, ReadSettings], Source]] = {
        "mask_folder": MaskFolder, "yolo": Yolo, "labelme": Labelme, "volumes": Volumes,
        "geo": GeoScenes, "voc": Voc, "cvat": Cvat, "label_studio": LabelStudio, "shards": Shards,
        "hub": Hub,
    }  # fmt: skip
    if found in whole:
        return split_source(whole[found](path, settings), splits)
    if path.is_file():
        return split_source(Coco(path, settings), splits)
    files = coco_files(path)
    if not files:
        raise UserError(f"{path} holds no COCO file (*.json)")
    if list(files) == [""]:
        return split_source(Coco(files[""], settings), splits)
    sources = {name: Coco(file, settings, name) for name, file in files.items() if name}
    if "train" not in sources:
        raise UserError(f"{path} holds {', '.join(sources)} but no train.json")
    given = with_groups(sources, splits)
    if "val" not in sources:
        drawn = split_source(sources["train"], splits)
        return {**drawn, **{name: source for name, source in given.items() if name != "train"}}
    return given


def recognise(path: Path) -> Format:
    """Tell the format of a file or folder by what is in it.

    Raises:
        UserError: it is none of them.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        return "label_studio" if first_character(path) == "[" else "coco"
    if path.is_file() and path.suffix.lower() in _BY_SUFFIX:
        return _BY_SUFFIX[path.suffix.lower()]
    if is_hub_name(path):
        return "hub"
    if path.is_dir():
        if holds_volumes(path):
            return "volumes"
        if holds_scenes(path):
            return "geo"
        if holds_rows(path):
            return "hub"
        if shard_files(path):
            return "shards"
        if voc_folder(path):
            return "voc"
        if (path / "annotations.xml").is_file():
            return "cvat"
        if (path / "data.yaml").is_file() or (path / "dataset.yaml").is_file():
            return "yolo"
        if is_labelme_folder(path):
            return "labelme"
        if _has_folder(path, "images") and _has_folder(path, "labels", "masks"):
            return "mask_folder"
        if label_studio_file(path):
            return "label_studio"
        if coco_files(path):
            return "coco"
        if _has_folder(path, "images"):
            return "mask_folder"
    raise UserError(
        f"the format of {path} is not recognised: expected images/ with labels/ or masks/, a COCO "
        "file *.json, data.yaml of YOLO, labelme's *.json, JPEGImages/ of Pascal VOC, CVAT's "
        "annotations.xml, Label Studio's JSON, shards *.tar, Hugging Face's save_to_disk, *.parquet "
        "or hf:OWNER/NAME, NIfTI volumes, or GeoTIFF scenes with polygons (set data.format to say "
        "which it is)"
    )


def _has_folder(path: Path, *names: str) -> bool:
    return any(
        (folder / name).is_dir() for folder in (path, *image_folders(path)) for name in names
    )


def coco_files(folder: Path) -> dict[str, Path]:
    """COCO files of a folder by split; the key is empty for a single file without a split.

    Found are `train.json`, `annotations/instances_train2017.json` and `train/_annotations.coco.json`.
    COCO's own files of captions, keypoints and stuff hold no instances and are passed over.

    Raises:
        UserError: two files claim one split.
    """
    files = sorted((*folder.glob("*.json"), *folder.glob("annotations/*.json")))
    files = [file for file in files if not file.stem.startswith(_NOT_INSTANCES)]
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
        return by_split
    return {"": files[0]} if len(files) == 1 else {}
