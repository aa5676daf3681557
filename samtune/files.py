"""Writing so that a crash leaves the old file or the new one, never half of either."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from samtune.errors import UserError, first_line

# Values that a YAML file may stand for, aliases written out
_MOST_NODES = 1_000_000


def write_bytes(path: Path, content: bytes, is_durable: bool = True) -> None:
    """Write atomically: to a temporary file beside `path`, then rename.

    Without `is_durable` a power cut may lose what was written; that is for what can be made again.
    """
    with replacing_file(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        if is_durable:
            file.flush()
            os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises:
        UserError: a file is in its place, or it may not be made there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(path, error) from error


def _no_folder(path: Path, error: OSError) -> UserError:
    return UserError(
        f"nothing can be written into a folder {path} ({error.strerror}): give another name"
    )


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a temporary file that takes the place of `path` when the block ends without error.

    Raises:
        UserError: its folder cannot be made, or not be written to.
    """
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _no_folder(path.parent, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def partial_folder(out: Path) -> Path:
    """Where the parts of a result that are done lie, until all are and it is written."""
    place = out.resolve() if out.name in ("", "..") else out
    return place.with_name(f"{place.name}.partial")


def require_new(path: Path, is_replaced: bool) -> None:
    """Refuse to replace what lies where a result is to go, unless that is wanted.

    An empty folder is nothing. What lies there while parts of an interrupted run lie beside it is
    that run's business.

    Raises:
        UserError: something is there.
    """
    try:
        is_there = path.exists() and not (path.is_dir() and not any(path.iterdir()))
        if is_there and not is_replaced and not partial_folder(path).exists():
            raise UserError(f"{path} is there already: give another --out, or --overwrite")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def unfinished(out: Path) -> Iterator[None]:
    """While files are written, `partial_folder` lies beside their folder: a call may begin anew."""
    mark = partial_folder(out)
    make_folder(mark)
    try:
        yield
    except BaseException:
        if not out.exists():
            _remove_if_empty(mark)
        raise
    _remove_if_empty(mark)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def try_writing(path: Path) -> None:
    """See before long work whether a file could be written; its folder is made.

    Raises:
        UserError: it could not.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        UserError: the file is missing or not JSON; the message has line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error


def read_yaml(path: Path) -> Any:
    """Parse a YAML file, with plain values only.

    Raises:
        UserError: the file is missing or not YAML; the message has line and column.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise UserError(f"{path} cannot be read as YAML: {problem}{place}") from error


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text; aliases that stand for too much, or for themselves, are refused.

    A few lines of aliases of aliases would otherwise fill the memory of whoever walks through them.

    Raises:
        yaml.YAMLError: it is not YAML, or too much.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size_of(node, {}) > _MOST_NODES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_NODES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size_of(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for, aliases written out."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise yaml.YAMLError("an alias stands for what it lies in")
        return size
    known[id(node)] = None
    parts = [each for pair in node.value for each in (pair if isinstance(pair, tuple) else (pair,))]
    size = 1 + sum(_size_of(part, known) for part in parts)
    known[id(node)] = size
    return size


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that hold more than white space, stripped.

    Raises:
        UserError: the file is missing or no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def plain_parts(name: str) -> tuple[str, ...]:
    """Parts of a path that a file names, without those that would lead out of a folder."""
    return tuple(p for p in name.replace("\\", "/").split("/") if p not in ("", ".", ".."))


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; a name that none can have is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def find_file(folder: Path, places: Iterable[tuple[str, ...]]) -> Path | None:
    """The first of some places in a folder where there is a file."""
    paths = (folder.joinpath(*parts) for parts in places)
    return next((path for path in paths if is_file(path)), None)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder alone for the time of the block; a process that ends, however it does, lets it go.

    Where the system has no such locks (Windows) nothing is done.

    Raises:
        UserError: another process has it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    make_folder(folder)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{folder} is open in another samtune, which would write over what this one writes: "
                "close that one, or give another --out"
            ) from error
        yield


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of `path` when the block ends without error.

    Raises:
        UserError: the folder that it is in cannot be made, or not be written to.
    """
    make_folder(path.parent)
    try:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise _no_folder(path.parent, error) from error
    temporary.chmod(0o777 & ~_umask())
    try:
        yield temporary
        for file in temporary.rglob("*"):  # some libraries write for the owner alone
            file.chmod((0o777 if file.is_dir() else 0o666) & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            path.rename(old / path.name)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
