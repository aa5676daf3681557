"""Which format a path is in: recognised, or named by the user."""

from pathlib import Path

from samtune.data.drawn.source import drawn_splits
from samtune.data.reader import Reader
from samtune.data.readers.cell_tracking import CellTracking
from samtune.data.readers.coco import Coco
from samtune.data.readers.cvat import Cvat
from samtune.data.readers.folder_per_image import FolderPerImage
from samtune.data.readers.geo import GeoScenes
from samtune.data.readers.hub import Hub, is_hub_name
from samtune.data.readers.label_studio import LabelStudio
from samtune.data.readers.labelme import Labelme
from samtune.data.readers.mask_folder import MaskFolder, has_folder
from samtune.data.readers.masks_beside import MasksBeside
from samtune.data.readers.nnunet import NnUnet
from samtune.data.readers.shards import Shards
from samtune.data.readers.voc import Voc
from samtune.data.readers.volumes import Volumes
from samtune.data.readers.yolo import Yolo
from samtune.data.settings import Format, SourceSettings, SplitSettings
from samtune.data.source import Source
from samtune.errors import UserError

# In the order in which they are asked: what many folders hold (images with masks, some JSON file)
# comes after what only one format has. A new format is a module of readers/ and a line here and in
# `Format`.
READERS: dict[Format, type[Reader]] = {
    "volumes": Volumes,
    "nnunet": NnUnet,
    "geo": GeoScenes,
    "hub": Hub,
    "shards": Shards,
    "voc": Voc,
    "cvat": Cvat,
    "yolo": Yolo,
    "labelme": Labelme,
    "mask_folder": MaskFolder,
    "label_studio": LabelStudio,
    "coco": Coco,
    "masks_beside": MasksBeside,
    "folder_per_image": FolderPerImage,
    "cell_tracking": CellTracking,
}


def open_splits(
    path: Path, data_format: Format, settings: SourceSettings, splits: SplitSettings
) -> dict[str, Source]:
    """Open the data at `path` and divide it into `train`, `val` and `test`.

    Raises:
        UserError: the path does not exist, its format is not recognised, or a name is no text.
    """
    if data_format == "drawn":
        return drawn_splits(splits.seed)
    if not is_hub_name(path) and not path.exists():
        raise UserError(f"there is no data at {path}: set data.path to your folder or file")
    found = recognise(path) if data_format == "auto" else data_format
    sources = READERS[found].open(path, settings, splits)
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


def find_format(path: Path) -> Format | None:
    """The format of a file or folder by what is in it; `None` where it is no data set."""
    return next((name for name, reader in READERS.items() if reader.recognises(path)), None)


def recognise(path: Path) -> Format:
    """Tell the format of a file or folder by what is in it.

    Raises:
        UserError: it is none of them.
    """
    if (found := find_format(path)) is not None:
        return found
    if has_folder(path, "images"):  # without masks; its reader says what is missing
        return "mask_folder"
    raise UserError(
        f"the format of {path} is not recognised: expected images/ with labels/ or masks/, images "
        "with their masks (a.png, a_masks.png), a COCO file *.json, data.yaml of YOLO, labelme's "
        "*.json, JPEGImages/ of Pascal VOC, CVAT's annotations.xml, Label Studio's JSON, shards *.tar, "
        "Hugging Face's save_to_disk, *.parquet or hf:OWNER/NAME, imagesTr/ of nnU-Net, NIfTI volumes, "
        "ID/images/ with ID/masks/, 01/ with 01_GT/SEG/ of the Cell Tracking Challenge, or GeoTIFF "
        "scenes with polygons (set data.format to say which it is)"
    )
