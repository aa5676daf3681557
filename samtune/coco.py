"""The one writer of COCO files (https://cocodataset.org/#format-data).

Annotations are streamed, so that no more than one of millions is held; images and categories, which are
few, come last.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from samtune.masks import mask_to_box, mask_to_rle
from samtune.types import MaskArray


class CocoFile:
    """A COCO file in the making.

    Args:
        file: to write into; with `files.replacing_file` it appears only when it is whole.
        info: about the file.
    """

    def __init__(self, file: BinaryIO, info: Mapping[str, Any] | None = None) -> None:
        self._file, self._images = file, list[dict[str, Any]]()
        self._categories: dict[str, int] = {}
        self._num_annotations = 0
        head = "" if info is None else f'"info": {_json(info)},\n'
        self._write(f'{{{head}"annotations": [')

    def category(self, name: str) -> int:
        """The id of a category by its name, counted from 1 in the order of their first use."""
        return self._categories.setdefault(name, len(self._categories) + 1)

    def add_image(
        self, file_name: str, hw: tuple[int, ...], image_id: int | None = None, **more: Any
    ) -> int:
        """Add an image; returns its id.

        Args:
            file_name: of the image.
            hw: its height and width.
            image_id: counted from 1 where it is none of the caller's.
            more: other facts of it.
        """
        number = len(self._images) + 1 if image_id is None else image_id
        about = {"id": number, "file_name": file_name, "height": hw[0], "width": hw[1]}
        self._images.append({**about, **more})
        return number

    def add_mask(self, image_id: int, category: int, mask: MaskArray, **more: Any) -> None:
        """Add an object by its (H, W) mask; an empty one has a box without sides."""
        box = mask_to_box(mask)
        corners = np.array([0, 0, -1, -1]) if box is None else box
        area = int(np.count_nonzero(mask))
        self.add_object(image_id, category, mask_to_rle(mask), corners, area, **more)

    def add_object(
        self, image_id: int, category: int, segmentation: Any, box_xyxy: NDArray[Any], area: int,
        number: int | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """Add an object.

        Args:
            image_id, category: ids of its image and category.
            segmentation: run lengths, or a list of polygons.
            box_xyxy: (4,) inclusive; COCO's own is as wide as the mask.
            area: pixels.
            number: its id; counted from 1 where it is none of the caller's.
            more: other facts of it, such as a score.
        """
        self._num_annotations += 1
        x0, y0, x1, y1 = np.asarray(box_xyxy).tolist()
        annotation = {
            "id": self._num_annotations if number is None else number, "image_id": image_id,
            "category_id": category, "segmentation": segmentation,
            "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1], "area": area, "iscrowd": 0, **more,
        }  # fmt: skip
        self._write((",\n" if self._num_annotations > 1 else "\n") + _json(annotation))

    def finish(self, categories: Iterable[Mapping[str, Any]] | None = None) -> None:
        """Write what is left.

        Args:
            categories: where they are not those of `category`.
        """
        if categories is None:
            categories = [{"id": n, "name": name} for name, n in self._categories.items()]
        images = ",\n".join(map(_json, self._images))
        named = _json(list(categories))
        self._write(f'\n],\n"images": [\n{images}\n],\n"categories": {named}}}\n')

    def _write(self, text: str) -> None:
        self._file.write(text.encode())


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False)
