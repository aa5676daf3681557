"""What `segment` does with images: each into files of its own, and on from where it stopped."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtune.bars import bar
from samtune.errors import UnwritableError, UserError
from samtune.files import is_file, partial_folder, try_writing
from samtune.images.naming import distinct_stems, list_images, require_apart
from samtune.inference.automatic.crops import tile_boxes
from samtune.inference.automatic.outputs import COCO_FILE, pictures_of, write_coco, write_results
from samtune.progress import Progress, stamp
from samtune.tasks.searching import Finder
from samtune.tasks.segment import Segmentation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSearch:
    """Segments images, each into files of its own."""

    finder: Finder
    out: Path
    overlap: int
    overlay: bool
    overwrite: bool

    def segment(self, paths: list[Path]) -> Segmentation:
        named = list_images(paths, without=[self.out])
        stems = distinct_stems({path: name for name, path in named.items()})
        written = {path: pictures_of(self.out, stem, self.overlay) for path, stem in stems.items()}
        require_apart(((file, path) for path in written for file in written[path]), written)
        try_writing(self.out / COCO_FILE)
        store = self._begin()
        records: dict[str, dict[str, Any]] = {}
        failures: dict[str, str] = {}
        for name, path in bar(list(named.items()), "segment", "image"):
            try:
                records[name] = self._record(store, name, path, stems[path])
            except UnwritableError:
                raise
            except UserError as error:
                failures[name] = str(error)
                log.warning("left out: %s", error)
        if records:
            write_coco(self.out / COCO_FILE, list(records.values()))
        if not failures:  # else the same call tries those again, and nothing else
            store.remove()
        counts = {name: len(record["masks"]) for name, record in records.items()}
        return Segmentation(self.out, counts, failures, self.finder.tile, self.finder.hint)

    def _begin(self) -> Progress:
        """What is done already; what a call with other settings left is forgotten.

        Its records would be taken for done when those settings came back, though the pictures are
        others by then.
        """
        store = Progress(partial_folder(self.out), {**self.finder.causes, "overlap": self.overlap})
        if self.overwrite or not store.is_begun:
            store.remove()
        store.begin()
        return store

    def _record(self, store: Progress, name: str, path: Path, stem: str) -> dict[str, Any]:
        """What the COCO file is written from; what is done already is not done again."""
        place = store.place(name, stamp(path), self.overlay)
        kept = store.read(place)
        pictures = pictures_of(self.out, stem, self.overlay)
        if isinstance(kept, dict) and all(map(is_file, pictures)):
            return kept
        record = self._segment(name, path, stem)
        store.write(place, record)  # last: where it is whole, the image is done
        return record

    def _segment(self, name: str, path: Path, stem: str) -> dict[str, Any]:
        image = self.finder.sam.reading.read(path)
        hw = (image.shape[0], image.shape[1])
        tile = 0 if self.finder.is_head else self.finder.tile
        tiles = tile_boxes(hw, tile, self.overlap) if tile else ()
        found = self.finder.search(image, tiles)
        return write_results(self.out, stem, name, image, found, self.overlay)
