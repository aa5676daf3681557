"""Objects of a scene as files for GIS: GeoPackage, GeoJSON, Shapefile, FlatGeobuf, GeoTIFF, COG."""

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.frames import WGS84, pixel_to_crs, to_crs
from samtune.data.geo.raster import Scene
from samtune.errors import UserError, require
from samtune.types import Window

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf"}
RASTERS = (".tif", ".tiff")


@dataclass(frozen=True)
class MapObjects:
    """Objects of a scene with their attributes, one entry each.

    Attributes:
        outlines: polygons or multipolygons in the scene's CRS.
        columns: attributes by name.
    """

    outlines: NDArray[np.object_]
    columns: dict[str, NDArray[Any]]


def require_format(path: Path, scene: Scene) -> None:
    """Say at once that a scene's objects cannot be written as the suffix says.

    Raises:
        UserError: it is of no known format, or GeoJSON and the scene lies nowhere on the earth.
    """
    if path.suffix.lower() not in (*DRIVERS, *RASTERS):
        raise UserError(
            f"{path} has no known suffix: give one of {', '.join((*DRIVERS, *RASTERS))}"
        )
    if DRIVERS.get(path.suffix.lower()) == "GeoJSON" and scene.crs:
        try:
            to_crs(pixel_to_crs(scene, np.zeros((1, 2))), scene.crs, WGS84)
        except UserError as error:
            raise UserError(
                f"{scene.path} has no way to the longitudes and latitudes of GeoJSON, give a .gpkg "
                f"instead: {error}"
            ) from error


def write_polygons(path: Path, batches: Iterable[MapObjects], scene: Scene) -> None:
    """Write a vector file, atomically and batch by batch.

    GeoJSON is in longitude and latitude and cut at the 180th meridian, as RFC 7946 wants it.

    Args:
        path: the file; its suffix is the format.
        batches: at least one, which may be empty.
        scene: on which the objects lie.
    """
    raw, driver = require("pyogrio.raw", "geo"), DRIVERS[path.suffix.lower()]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        # not every format can be added to, and all can be copied as a stream
        added, final = Path(folder) / "added.gpkg", Path(folder) / "final" / path.name
        final.parent.mkdir()
        with _quiet(), _dated(scene.path):
            for batch in batches:
                _add(added, path.stem, batch, scene)
            if driver == "GPKG":
                added.rename(final)
            else:
                more = {"RFC7946": "YES"} if driver == "GeoJSON" and scene.crs else {}
                with raw.open_arrow(added) as (_, features):
                    raw.write_arrow(
                        features, final, driver=driver, crs=scene.crs or None, encoding="UTF-8",
                        geometry_name="geom", geometry_type="MultiPolygon", layer_options=more,
                    )  # fmt: skip
        for part in sorted(final.parent.iterdir()):  # a Shapefile is several
            part.replace(path.parent / part.name)


def _add(path: Path, layer: str, objects: MapObjects, scene: Scene) -> None:
    if path.exists() and not len(objects.outlines):
        return
    shapes = require("shapely", "geo").to_wkb(objects.outlines)
    require("pyogrio.raw", "geo").write(
        path, shapes, list(objects.columns.values()), list(objects.columns), layer=layer,
        driver="GPKG", crs=scene.crs or None, geometry_type="MultiPolygon", promote_to_multi=True,
        append=path.exists(),
    )  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """A scene without a CRS has none to write."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*'crs' was not provided.*")
        yield


@contextmanager
def _dated(source: Path) -> Iterator[None]:
    """A GeoPackage bears the time of its scene: the same run writes the same bytes."""
    changed = datetime.fromtimestamp(source.stat().st_mtime, UTC)
    set_options = require("pyogrio", "geo").set_gdal_config_options
    set_options({"OGR_CURRENT_DATE": changed.strftime("%Y-%m-%dT%H:%M:%S.000Z")})
    try:
        yield
    finally:
        set_options({"OGR_CURRENT_DATE": None})


def write_labels(
    path: Path, scene: Scene, parts: Iterable[tuple[Window, NDArray[np.int32]]], is_cog: bool,
    classes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write a label raster on the scene's grid window by window, atomically.

    Args:
        path: the GeoTIFF.
        scene: whose grid it has.
        parts: windows that do not overlap, with the numbers of objects there.
        is_cog: rearrange it as a cloud-optimised GeoTIFF at the end.
        classes: names of the numbers, which become tags of the band: `class_1` and so on.
    """
    rasterio, affine = require("rasterio", "geo"), require("affine", "geo").Affine
    grid = {"height": scene.height, "width": scene.width, "count": 1, "dtype": "int32"}
    grid |= {"transform": affine(*scene.transform), "nodata": 0}
    grid |= {"crs": scene.crs} if scene.crs else {}
    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        plain, final = Path(folder) / "plain.tif", Path(folder) / path.name
        with rasterio.open(
            plain, "w", driver="GTiff", BIGTIFF="IF_SAFER", **grid, **tiling
        ) as file:
            for window, labels in parts:
                place = (window.y, window.y + window.height), (window.x, window.x + window.width)
                file.write(labels, 1, window=place)
            file.update_tags(1, **{f"class_{n}": name for n, name in enumerate(classes)})
        if is_cog:
            options = {"driver": "COG", "compress": "deflate", "resampling": "nearest"}
            require("rasterio.shutil", "geo").copy(plain, final, **options)
        (final if is_cog else plain).replace(path)
