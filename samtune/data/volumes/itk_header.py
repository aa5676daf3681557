"""What a MetaImage or NRRD header says, looked at before ITK does: it trusts its numbers and lengths.

Fields: https://itk.org/Wiki/ITK/MetaIO/Documentation and https://teem.sourceforge.net/nrrd/format.html
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from samtune.errors import UserError

_FIELDS = ("elementdatafile", "data file", "datafile")
_LIST = "list"
# A file without lines shall not fill the memory.
_LONGEST_LINE = 2**20
# ITK puts the values of fields into buffers of their own; texts that people add (NRRD's KEY:=VALUE, a
# comment) may be longer. A number of axes beyond this ends its process.
_LONGEST_FIELD, _MOST_AXES = 1000, 10
_AXES = ("ndims", "dimension")
_TEXTS = ("comment", "content")


def require_data_beside(path: Path) -> None:
    """Whoever writes a header may not choose any file of the computer as its voxels.

    Raises:
        UserError: a data file is an absolute path, or outside the header's folder.
    """
    for name in _data_files(path):
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
            raise UserError(
                f"{path} has its voxels in {name!r}: expected a file beside it or below; put it there "
                "and write its plain name into the header"
            )


def require_sound_fields(path: Path) -> None:
    """Refuse a header that would end the process that reads it.

    Raises:
        UserError: a field is too long, or the number of axes is none.
    """
    for line in _lines(path):
        key, *values = (part.strip() for part in re.split("[=:]", line, maxsplit=1))
        value, name = (values or [""])[0], key.lower()
        is_text = line.startswith("#") or value.startswith("=") or name in _TEXTS
        if len(line) > _LONGEST_FIELD and not is_text:
            raise UserError(
                f"{path} is damaged: its field {key[:40]!r} is {len(line)} characters long"
            )
        if name in _AXES and not (value.isdecimal() and 0 < int(value) <= _MOST_AXES):
            raise UserError(f"{path} is damaged: its {key} is {value[:40]!r}; expected 3")
        if name == _FIELDS[0]:
            return  # the last field: what follows is voxels


def _data_files(path: Path) -> Iterator[str]:
    """Names that the field of the data file holds, and those of a list below it."""
    is_list = False
    for line in _lines(path):
        key, *values = (part.strip() for part in re.split("[=:]", line, maxsplit=1))
        if is_list:
            yield line
        elif values and key.lower() in _FIELDS:
            yield values[0]
            is_list = values[0].lower().split()[:1] == [_LIST]
            if not is_list and key.lower() == _FIELDS[0]:
                return  # the last field: what follows is voxels


def _lines(path: Path) -> Iterator[str]:
    """Lines of the header; that of NRRD ends with an empty line.

    Raises:
        UserError: a line is no header's.
    """
    with path.open("rb") as file:
        is_nrrd = file.read(4) == b"NRRD"
        file.seek(0)
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise UserError(f"{path} is no volume, or damaged: its header has no lines")
            parts = line.decode("latin-1").strip().split("\r")
            if is_nrrd and not any(parts):
                return
            yield from (part.strip() for part in parts)
