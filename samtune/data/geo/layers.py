"""Which layer of a vector file holds the objects, and what its features are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.json_index import first_character
from samtune.errors import UserError, first_line, require

# Geometry types of GEOS: points, and polygons, alone and together; and whatever together.
POINTS, AREAS, COLLECTION = (0, 4), (3, 6), 7
# So many at a time that decoded polygons never fill the memory.
CHUNK = 100_000
# What GDAL calls layers by that hold but one of them.
_AREA_NAMES, _POINT_NAMES = ("Polygon", "Surface"), ("Point",)
_ANYTHING = ("Unknown", "Geometry", "GeometryCollection")


@contextmanager
def reading_vectors(path: Path, encoding: str = "") -> Iterator[None]:
    """Whatever goes wrong while a vector file is read becomes one line.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # pyogrio and the codecs raise several kinds
        raise UserError(
            f"{path} cannot be read as vectors: {_reason(error, encoding, path)}"
        ) from error


def _reason(error: Exception, encoding: str, path: Path) -> str:
    if first_character(path) == "[":
        return (
            "it is a list of JSON: expected a FeatureCollection (QuPath: Export objects as GeoJSON, as "
            "FeatureCollection)"
        )
    if isinstance(error, UnicodeDecodeError):
        return f"its text is not {error.encoding}: set data.encoding (latin-1, say)"
    if isinstance(error, LookupError) and encoding:
        return f"there is no encoding '{encoding}'"
    return first_line(error)


def find_layer(path: Path, name: str, with_points: bool) -> int:
    """The number of the layer of that name; without one, of the only layer that holds polygons.

    Args:
        path: the file.
        name: of the layer; empty for none.
        with_points: points count too: the file is one of prompts.

    Raises:
        UserError: there is no such layer, or more or fewer than one that could be meant.
    """
    with reading_vectors(path):
        layers = [(str(n), str(kind)) for n, kind in require("pyogrio", "geo").list_layers(path)]
    names = [layer for layer, _ in layers]
    listed = ", ".join(names)
    if name and name not in names:
        raise UserError(f"{path} has no layer '{name}': found {listed}")
    if name or len(layers) == 1:
        return names.index(name) if name else 0
    sizes = {
        number: size
        for number, (_, kind) in enumerate(layers)
        if (size := _num_fitting(path, number, kind, with_points)) is not None
    }
    # where all are empty, any will do
    filled = [number for number, size in sizes.items() if size] or list(sizes)[:1]
    if not filled:
        raise UserError(f"{path} holds no polygons: its layers are {listed}")
    if len(filled) > 1:
        could = ", ".join(names[number] for number in filled)
        setting = "--layer" if with_points else "data.layer"
        raise UserError(f"which layer of {path} holds the objects? Set {setting}: found {could}")
    return filled[0]


def _num_fitting(path: Path, layer: int, kind: str, with_points: bool) -> int | None:
    """How many features of a layer are polygons, or points; `None` where none can be."""
    plain = kind.split()[-1] if kind.startswith(("2.5D", "3D", "Measured")) else kind.split()[0]
    names = _AREA_NAMES + (_POINT_NAMES if with_points else ())
    with reading_vectors(path):
        if plain.endswith(names):
            return int(require("pyogrio", "geo").read_info(path, layer=layer)["features"])
        if not plain.startswith(_ANYTHING):
            return None
        shapes = require("pyogrio.raw", "geo").read(path, layer=layer, columns=[])[2]
    shapely = require("shapely", "geo")
    parts = (shapes[start : start + CHUNK] for start in range(0, len(shapes), CHUNK))
    decoded = (
        only_areas(shapely.from_wkb(part, on_invalid="ignore"), with_points) for part in parts
    )
    return sum(int((~shapely.is_missing(part)).sum()) for part in decoded) or None


def only_areas(geometries: NDArray[np.object_], with_points: bool) -> NDArray[np.object_]:
    """Polygons as they are, those of collections as one; `None` for what has no area."""
    shapely = require("shapely", "geo")
    found = geometries.copy()
    kinds = shapely.get_type_id(found)
    is_mixed = kinds == COLLECTION
    found[is_mixed] = [_area_of(collection) for collection in found[is_mixed]]
    is_kept = is_mixed | np.isin(kinds, (*AREAS, *(POINTS if with_points else ())))
    found[~is_kept | shapely.is_empty(found)] = None
    return found


def _area_of(collection: Any) -> Any:
    """All the polygons of a collection, however deep they lie in it."""
    shapely = require("shapely", "geo")
    parts = shapely.get_parts([collection])
    while np.isin(shapely.get_type_id(parts), (COLLECTION, AREAS[1])).any():
        parts = shapely.get_parts(parts)
    parts = parts[
        (shapely.get_type_id(parts) == AREAS[0]) & np.isfinite(shapely.bounds(parts)).all(1)
    ]
    merged = shapely.get_parts(shapely.union_all(shapely.make_valid(parts)))
    # repairing can leave lines beside areas
    return shapely.multipolygons(merged[shapely.get_type_id(merged) == AREAS[0]])
