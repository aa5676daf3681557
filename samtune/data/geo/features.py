"""Features of a vector file as they are stored: by GDAL, or of GeoParquet by pyarrow."""

import codecs
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.kinds import is_geoparquet
from samtune.data.geo.layers import find_layer, reading_vectors
from samtune.errors import UserError, require


@dataclass(frozen=True)
class Stored:
    """One layer.

    Attributes:
        crs: as WKT or authority code; empty where the file names none.
        fids: (N,) numbers of the features.
        shapes: (N,) WKB.
        column: (N,) values of one attribute; `None` without one.
        dtype: of the attribute.
    """

    crs: str
    fids: NDArray[np.int64]
    shapes: NDArray[Any]
    column: NDArray[Any] | None
    dtype: str


def read_stored(path: Path, column: str, encoding: str, layer: int) -> Stored:
    """Read a layer, with one attribute or none.

    Raises:
        UserError: the file cannot be read.
    """
    with reading_vectors(path, encoding):
        if is_geoparquet(path):
            return _from_parquet(path, column)
        meta, fids, shapes, columns = require("pyogrio.raw", "geo").read(
            path, layer=layer, return_fids=True, force_2d=True, columns=[column] if column else [],
            encoding=_gdal_name(encoding) if encoding else None,
        )  # fmt: skip
    values, dtype = (columns[0], meta["dtypes"][0]) if column else (None, "")
    return Stored(meta["crs"] or "", fids, shapes, values, dtype)


def column_names(path: Path, layer: int) -> list[str]:
    """Attributes that features of a layer have."""
    with reading_vectors(path):
        if is_geoparquet(path):
            table = _parquet(path)
            geometry = _about(table, path)["primary_column"]
            return [str(name) for name in table.schema_arrow.names if name != geometry]
        return list(require("pyogrio", "geo").read_info(path, layer=layer)["fields"])


def find_layer_of(path: Path, name: str, with_points: bool) -> int:
    """As `find_layer`; a table of Parquet has one layer alone."""
    return 0 if is_geoparquet(path) else find_layer(path, name, with_points)


def _from_parquet(path: Path, column: str) -> Stored:
    table = _parquet(path)
    about = _about(table, path)
    geometry = about["primary_column"]
    stored = about["columns"][geometry]
    if str(stored.get("encoding", "WKB")).upper() != "WKB":
        raise UserError(f"{path} holds geometries as {stored['encoding']}: write them as WKB")
    content = table.read([geometry, *([column] if column else [])])
    shapely = require("shapely", "geo")
    whole = shapely.from_wkb(content[geometry].to_numpy(), on_invalid="ignore")
    values = np.array([*content[column].to_pylist(), None], object)[:-1] if column else None
    dtype = str(content.schema.field(column).type) if column else ""
    return Stored(
        _crs_of(stored),
        np.arange(len(whole)),
        shapely.to_wkb(shapely.force_2d(whole)),
        values,
        dtype,
    )


def _parquet(path: Path) -> Any:
    return require("pyarrow.parquet", "hub").ParquetFile(path)


def _about(table: Any, path: Path) -> dict[str, Any]:
    found = json.loads((table.schema_arrow.metadata or {}).get(b"geo", b"null"))
    if not isinstance(found, dict):
        raise UserError(f"{path} is a table without geometries: expected GeoParquet")
    return found


def _crs_of(stored: dict[str, Any]) -> str:
    """GeoParquet without a CRS is in degrees; with a null one, in whatever."""
    crs = stored.get("crs", "OGC:CRS84")
    return "" if crs is None else str(require("pyproj", "geo").CRS.from_user_input(crs).to_wkt())


def _gdal_name(encoding: str) -> str:
    """`ISO-8859-1` and `CP1252`, as GDAL spells them, of any name that Python knows."""
    return codecs.lookup(encoding).name.upper().replace("ISO8859", "ISO-8859")
