"""What `segment` does by a semantic head: a map of classes for each image, or for a scene."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtune.bars import bar
from samtune.drawing import to_png
from samtune.errors import UnwritableError, UserError
from samtune.files import is_file, partial_folder, try_writing, write_bytes, write_json
from samtune.images.naming import distinct_stems, list_images, require_apart
from samtune.inference.automatic.outputs import pictures_of, tint
from samtune.inference.semantic import ClassMapper
from samtune.progress import Progress, stamp
from samtune.tasks.results import Result, Rows
from samtune.tasks.searching import require_no_grid

if TYPE_CHECKING:
    from samtune.inference.geo.scenes import SceneSettings
    from samtune.inference.settings import SearchSettings
    from samtune.models.backend import Sam

log = logging.getLogger(__name__)
CLASSES_FILE = "classes.json"


@dataclass(frozen=True)
class ClassSegmentation(Result):
    """Classes of pixels that were found.

    Attributes:
        out: the folder, or of a scene the file.
        classes: names by number; 0 is background.
        pixels: by image, of each class.
        failures: images that could not be read, with the reason.
        notes: what else is to be known.
    """

    out: Path
    classes: tuple[str, ...]
    pixels: dict[str, dict[str, int]]
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        total = sum(sum(each.values()) for each in self.pixels.values())
        shares = [
            f"{name} {sum(each[name] for each in self.pixels.values()) / max(1, total):.1%}"
            for name in self.classes
        ]
        images = "image" if len(self.pixels) == 1 else "images"
        return f"{len(self.pixels)} {images}, of the pixels {', '.join(shares)}: {self.out}"

    @property
    def tables(self) -> Mapping[str, Rows]:
        rows: Rows = [{"image": name, **each} for name, each in self.pixels.items()]
        return {"images": rows}


class ClassMapping:
    """Gives every pixel of images or of a scene a class, and goes on where it broke off.

    Raises:
        UserError: the model has no semantic head, or settings are of a grid.
    """

    def __init__(
        self, sam: Sam, settings: SearchSettings, out: Path, overlay: bool, overwrite: bool
    ) -> None:
        from samtune.heads.saving import head_sha256
        from samtune.models.loading import tuned_sha256

        require_no_grid(settings)
        self.mapper, self.out = ClassMapper(sam), out
        self.overlay, self.overwrite = overlay, overwrite
        self.causes = {
            "weights": tuned_sha256(sam), "side": sam.image_size,
            "head": head_sha256(self.mapper.head), "reading": sam.reading.as_dict(),
        }  # fmt: skip

    @property
    def tile(self) -> int:
        """Side of the head's views, pixels."""
        return int(self.mapper.head.tile)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.mapper.classes)

    def of_images(self, paths: list[Path]) -> ClassSegmentation:
        """Write `IMAGE.png` with numbers of classes for each image, and `classes.json`."""
        named = list_images(paths, without=[self.out])
        stems = distinct_stems({path: name for name, path in named.items()})
        written = {path: pictures_of(self.out, stem, self.overlay) for path, stem in stems.items()}
        require_apart(((file, path) for path in written for file in written[path]), written)
        try_writing(self.out / CLASSES_FILE)
        store = Progress(partial_folder(self.out), self.causes)
        if self.overwrite or not store.is_begun:
            store.remove()
        store.begin()
        pixels: dict[str, dict[str, int]] = {}
        failures: dict[str, str] = {}
        for name, path in bar(list(named.items()), "segment", "image"):
            try:
                pixels[name] = self._of_image(store, name, path, stems[path])
            except UnwritableError:
                raise
            except UserError as error:
                failures[name] = str(error)
                log.warning("left out: %s", error)
        write_json(self.out / CLASSES_FILE, dict(enumerate(self.classes)))
        if not failures:
            store.remove()
        return ClassSegmentation(self.out, self.classes, pixels, failures)

    def _of_image(self, store: Progress, name: str, path: Path, stem: str) -> dict[str, int]:
        place = store.place(name, stamp(path), self.overlay)
        kept = store.read(place)
        if isinstance(kept, dict) and all(map(is_file, pictures_of(self.out, stem, self.overlay))):
            return {str(key): int(value) for key, value in kept.items()}
        image = self.mapper.sam.reading.read(path)
        labels = self.mapper.labels(image)[0].astype(np.uint16)
        write_bytes(self.out / f"{stem}.png", to_png(labels))
        if self.overlay:
            write_bytes(self.out / f"{stem}_overlay.png", to_png(tint(image, labels)))
        counts = np.bincount(labels.ravel(), minlength=len(self.classes)).tolist()
        found = dict(zip(self.classes, counts, strict=True))
        store.write(place, found)  # last: where it is whole, the image is done
        return found

    def of_scene(self, path: Path, settings: SceneSettings) -> ClassSegmentation:
        """Write a GeoTIFF of classes, whose tags name them, or areas with their classes."""
        from samtune.data.geo.raster import open_scene
        from samtune.inference.geo.scenes import map_scene

        scene = open_scene(path, self.mapper.sam.reading)
        causes: dict[str, Any] = {**self.causes, "classes": list(self.classes)}
        pixels = map_scene(scene, self.mapper.labels, self.classes, self.out, settings, causes)
        return ClassSegmentation(self.out, self.classes, {path.name: pixels})
