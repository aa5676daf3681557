"""What a file of objects is: features of whatever format, or a raster. Its content says so."""

import zipfile
from pathlib import Path

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".kml", ".gml")
# Where these lie beside a scene, they are looked into: any tool calls its files so.
UNSURE_SUFFIXES = (".json", ".parquet", ".geoparquet", ".shp.zip")
# So much of a file is looked at.
_HEAD = 2**16
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"


def holds_vectors(path: Path) -> bool:
    """Whether a file holds features: JSON, Parquet and zips by their content, others by name."""
    if path.name.lower().endswith(VECTOR_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if head.startswith(_PARQUET):
                file.seek(max(0, path.stat().st_size - _HEAD))
                return b'"primary_column"' in file.read()
        if head.startswith(_ZIP):
            with zipfile.ZipFile(path) as content:
                return any(name.lower().endswith(VECTOR_SUFFIXES) for name in content.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
    is_json = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    return is_json and (b'"FeatureCollection"' in head or b'"Feature"' in head)


def is_geoparquet(path: Path) -> bool:
    """Whether features lie in a table of Parquet, which not every build of GDAL reads."""
    try:
        with path.open("rb") as file:
            return file.read(len(_PARQUET)) == _PARQUET
    except OSError:
        return False
