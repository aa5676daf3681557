"""A folder for each image, with a mask for each of its objects: the Data Science Bowl 2018 (BBBC038).

PATH/ID/images/ANY.png        the one image of ID
PATH/ID/masks/*.png           a file for each object; none of them: an image without objects
PATH/manifest.csv             optional: a row for each ID
PATH/{stage1_train,stage1_test}/ID/...     optional: splits as folders, where both have masks

Layout: https://bbbc.broadinstitute.org/BBBC038
"""

from pathlib import Path

from samtune.data.label_maps import read_object_masks
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import split_folders
from samtune.errors import UserError
from samtune.files import is_hidden
from samtune.images.kinds import is_mask, is_picture

_IMAGES, _MASKS = "images", "masks"


class FolderPerImage(Reader):
    """Images with their objects in folders of their own.

    Args:
        path: the folder described at the top of this module.
        settings: how to read; a file of a mask is one object, whatever its values are.

    Raises:
        UserError: there are no such folders, or one has several images.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.path, self.settings = path, settings or SourceSettings()
        self.records: list[Record] = []
        self._masks: list[Path] = []
        self._left_out, manifest = LeftOut(), Manifest(path)
        places = {path: "", **split_folders(path)} if path.is_dir() else {}
        labelled = {place: self._with_masks(place) for place in places}
        are_divided = sum(bool(found) for found in labelled.values()) > 1
        for place, folders in labelled.items():
            for folder in folders:
                image_id = folder.relative_to(path).as_posix()
                split = places[place] if are_divided else ""
                self.records.append(
                    manifest.record(image_id, _only_image(folder), split, name=folder.name)
                )
                self._masks.append(folder / _MASKS)
        if not self.records:
            raise UserError(f"{path} holds no folders ID/images with ID/masks")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        places = (path, *split_folders(path)) if path.is_dir() else ()
        return any(
            (folder / _MASKS).is_dir() and len(_pictures(folder / _IMAGES)) == 1
            for place in places
            for folder in place.iterdir()
        )

    def _with_masks(self, place: Path) -> list[Path]:
        """Folders of images with their objects; those without are counted."""
        folders = [each for each in sorted(place.iterdir()) if (each / _IMAGES).is_dir()]
        found = [each for each in folders if (each / _MASKS).is_dir()]
        self._left_out.add_all("image", "without masks", (f for f in folders if f not in found))
        for folder in found:
            seen = (f for f in (folder / _MASKS).iterdir() if not is_hidden(f))
            others = (file for file in seen if not is_mask(file))
            self._left_out.add_all("file", "among the masks that is none", others)
        return found

    @property
    def notes(self) -> list[str]:
        return self._left_out.notes(self.path)

    def load(self, index: int) -> Loaded:
        image = self.settings.reading.read(self.records[index].path)
        files = sorted(filter(is_mask, self._masks[index].iterdir()))
        return image, read_object_masks(files, (image.shape[0], image.shape[1])), {}


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [file for file in sorted(folder.iterdir()) if is_picture(file)]


def _only_image(folder: Path) -> Path:
    found = _pictures(folder / _IMAGES)
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:3]) or "none"
        raise UserError(
            f"{folder / _IMAGES} holds {len(found)} images ({names}): expected one, whose objects have "
            f"a file each in {_MASKS}/"
        )
    return found[0]
