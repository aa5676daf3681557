"""What was accepted in parts of a larger file, as a whole: the map of a scene, labels of a volume."""

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from samtune.data.source import Source
from samtune.data.volumes.copying import copy_volume
from samtune.data.volumes.segment_codes import TISSUE
from samtune.errors import UserError
from samtune.files import make_folder, write_json
from samtune.inference.geo.polygons import on_the_map
from samtune.inference.geo.writing import MapObjects, write_polygons
from samtune.inference.volumes.carrying import VolumeObject
from samtune.inference.volumes.objects import write_objects
from samtune.page.parts import SceneWindows, VolumeSlices
from samtune.page.seams import Objects, join, outline


def write_whole(folder: Path, source: Source, objects: Objects) -> None:
    """Write the objects of all parts of a scene or of a volume; of other images nothing.

    Args:
        folder: of the annotations.
        source: of the images.
        objects: of each image.

    Raises:
        UserError: what is needed for it is not installed, or there are too many objects.
    """
    if isinstance(source, SceneWindows):
        write_map(folder / "objects.gpkg", source, objects)
    elif isinstance(source, VolumeSlices):
        write_volume(folder / "volume", source, objects)


def write_volume(folder: Path, source: VolumeSlices, objects: Objects) -> None:
    """Write objects as a volume of labels beside a copy of its image, which `samtune fit` takes.

    images/NAME.*, labels/NAME.nii.gz in the image's affine, dataset.json with the class of each label.
    An object's number is its label; of two that overlap the smaller one keeps what they share.

    Raises:
        UserError: there are more objects than labels can tell.
    """
    found: dict[int, VolumeObject] = {}
    for number, each in enumerate(objects):
        for made in each:
            known = found.setdefault(made.number, VolumeObject(made.number, made.name))
            known.masks[number] = made.rle
    copy_volume(source.files, folder / "images")
    names = {str(number): known.name for number, known in sorted(found.items())}
    write_json(folder / "dataset.json", {"labels": {"0": "background", **names}})
    labels = folder / "labels" / f"{source.name}.nii.gz"
    make_folder(labels.parent)
    in_order = [found[number] for number in sorted(found)]
    image, stack = source.files[0], source.stack
    if why := write_objects(labels, image, in_order, stack, TISSUE, is_automatic=False):
        raise UserError(why)


def write_map(path: Path, source: SceneWindows, objects: Objects) -> None:
    """Write accepted objects as a file of a GIS, in the scene's CRS; one of several windows is one.

    Args:
        path: the file; its suffix is the format.
        source: the windows of the scene.
        objects: of each window, in its pixels.

    Raises:
        UserError: what is needed for it is not installed.
    """
    groups = join(source.cells, objects)
    rows = []
    for group in groups:
        index, first = group[0]
        scores = [made.score for _, made in group if made.score is not None]
        score = fmean(scores) if scores else np.nan
        rows.append((first.name, first.by, score, source.records[index].image_id, first.number))
    kinds: dict[str, Any] = {
        "class": object, "by": object, "score": float, "window": object, "number": int
    }  # fmt: skip
    columns = {
        name: np.array([row[place] for row in rows], kind)
        for place, (name, kind) in enumerate(kinds.items())
    }
    known = source.outlines  # most objects are those of the last time
    source.outlines = {
        parts: known[parts] if parts in known else outline(source.cells, parts)
        for parts in map(tuple, groups)
    }
    shapes = np.array(list(source.outlines.values()), object)
    placed = on_the_map(source.scene, shapes) if len(shapes) else shapes
    write_polygons(path, [MapObjects(placed, columns)], source.scene)
