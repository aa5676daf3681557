"""Ways in which a file can be wrong: bytes, fields and names, drawn at random."""

import gzip
import io
import json
import re
import struct
import zlib
from contextlib import suppress

# Values that JSON, YAML and XML can hold and that no annotation should.
ABSURD = (
    None, True, -1, 0, 1.5, 2**31, 2**64, 10**400, float("nan"), float("inf"), 1e308,
    "", "x", "\0", "\ud800", "../../../../etc/passwd", "/etc", "x" * 5000,
    [], {}, [[]], [None], [[1, 2]], {"x": 1}, [float("nan")] * 6,
)  # fmt: skip


def with_leaf(content, number, value):
    """JSON content with one of its leaves or branches, by number, exchanged for a value."""
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(content)
    node, key = places[number % len(places)]
    node[key] = value
    return content


# The same for texts of any kind
ABSURD_TEXTS = (
    "NaN", "nan", "Infinity", "-inf", "1e999", "-1", "0", "-0.0", "1e308", "99999999999999999999",
    "2147483648", "4294967295", "0.1", "true", "null", "~", "", " ", "x", "[]", "{}", "\\ud800",
    "\u202e", "é", "苹果", "\t", "\n", "\r\n", "\ufeff", "#", "'", '"', "<", "&", "]]>", "%s", "{0}",
    "../../x", "/", "C:\\x", "=1+1", "x" * 3000, "[" * 3000, "&a", "*a", "!!python/name:os.system",
)  # fmt: skip
ODD_NAMES = (
    "ä ö.x", "苹果", "-rf", "a\nb", "%s{0}", "x" * 200, "[a-z]*", "#1?a=b&c", "a'\"b", "..x", " ",
    "\udcff\udcfe", "con", "a;b|c", "<b>x", "$HOME", "~", "a\\b", "\u202ex", "🙂",
)  # fmt: skip
_NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**16, 2**16 - 1, 2**24, 255, 128)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"\"[^\"]*\"|[\w.:/-]+")


def damage(folder, rng):
    """Do something to one of the files of a folder.

    Returns:
        What was done, for people.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    file = rng.choice(files)
    if rng.random() < 0.05:
        return _rename(file, rng)
    how = rng.choice(_ways(file))
    content = file.read_bytes()
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = how(content, rng, files)
    file.write_bytes(content)
    return f"{file.relative_to(folder)}: {how.__name__.strip('_')}"


def _ways(file):
    """What can be done to a file, by what it holds."""
    content, ways = file.read_bytes(), [_flip, _flip, _number, _number, _cut, _repeat, _other]
    with suppress(UnicodeDecodeError):
        content[:2000].decode()
        ways = [*ways, _field, _field, _field, _word, _lines, _deep]
    with suppress(ValueError):
        json.loads(content)
        ways += [_leaf] * 8
    if content.startswith(b"\x1f\x8b"):
        ways += [_within_gzip] * 4
    if content.startswith(b"\x89PNG"):
        ways += [_within_png] * 4
    if content[128:132] == b"DICM":
        ways += [_within_dicom] * 6
    return ways


def _rename(file, rng):
    name = rng.choice(ODD_NAMES) + rng.choice((file.suffix, "", ".png", ".json"))
    with suppress(OSError):
        file.rename(file.with_name(name))
    return f"{file.name} is called {name!r}"


def _flip(content, rng, _files):
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _number(content, rng, _files):
    """A number of 2, 4 or 8 bytes is another; near the beginning mostly, where headers are."""
    kind = rng.choice(("h", "i", "i", "q", "f", "d"))
    size = struct.calcsize(kind)
    if len(content) <= size:
        return content
    value = rng.choice((float("nan"), float("inf"), -1e30, 0.0) if kind in "fd" else _NUMBERS)
    if kind not in "fd":
        value &= 2 ** (8 * size) - 1
        kind = kind.upper()
    far = len(content) - size
    place = rng.randrange(min(far, 400) + 1 if rng.random() < 0.6 else far + 1)
    new = struct.pack(rng.choice("<>") + kind, value)
    return content[:place] + new + content[place + size :]


def _cut(content, rng, _files):
    start = rng.randrange(len(content) + 1)
    end = len(content) if rng.random() < 0.5 else start + rng.randint(1, 64)
    return content[:start] + content[end:]


def _repeat(content, rng, _files):
    start = rng.randrange(len(content) + 1)
    part = content[start : start + rng.choice((1, 4, 64, 4096))]
    return content[:start] + part * rng.choice((2, 3, 200)) + content[start:]


def _other(content, rng, files):
    """The content of another file, in part or whole."""
    other = rng.choice(files).read_bytes()
    place = rng.choice((0, 0, rng.randrange(len(content) + 1)))
    return content[:place] + other


def _text(content):
    return content.decode(errors="surrogateescape")


def _bytes(text):
    return text.encode(errors="surrogateescape")


def _exchanged(content, pattern, rng):
    text = _text(content)
    found = list(pattern.finditer(text))
    if not found:
        return content
    place = rng.choice(found)
    value = rng.choice(ABSURD_TEXTS)
    if place[0].startswith('"') and rng.random() < 0.7:
        value = json.dumps(value)
    return _bytes(text[: place.start()] + value + text[place.end() :])


def _field(content, rng, _files):
    return _exchanged(content, _NUMBER, rng)


def _word(content, rng, _files):
    return _exchanged(content, _WORD, rng)


def _lines(content, rng, _files):
    lines = _text(content).splitlines(keepends=True) or [""]
    number = rng.randrange(len(lines))
    lines[number : number + 1] = [lines[number]] * rng.choice((0, 2, 50))
    return _bytes("".join(lines))


def _deep(content, rng, _files):
    text = _text(content)
    place = rng.randrange(len(text) + 1)
    nest = rng.choice(("[", "{", '{"a":', "<a>", "(", "- ", "!<", "&a [", "\\")) * rng.choice(
        (50, 5000)
    )
    return _bytes(text[:place] + nest + text[place:])


def _leaf(content, rng, _files):
    try:
        changed = with_leaf(json.loads(content), rng.randrange(10_000), rng.choice(ABSURD))
    except (ValueError, RecursionError, ZeroDivisionError):
        return content
    return json.dumps(changed).encode()


def _within_gzip(content, rng, files):
    try:
        inner = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content
    return gzip.compress(rng.choice((_flip, _number, _number, _cut))(inner, rng, files))


def _within_png(content, rng, files):
    """A chunk is damaged and gets a checksum that fits, so that decoders look at it."""
    place = 8
    chunks = []
    while place + 12 <= len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    if not chunks:
        return content
    number = rng.randrange(len(chunks))
    kind, inner = chunks[number]
    chunks[number] = (kind, rng.choice((_flip, _number, _cut))(inner, rng, files))
    parts = [
        struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))
        for kind, inner in chunks
    ]
    return content[:8] + b"".join(parts)


def _within_dicom(content, rng, _files):
    """An element, of a sequence too, is gone or has another value."""
    import pydicom

    try:
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        elements = [(owner, each.tag) for owner, each in _elements(dataset)]
        owner, tag = rng.choice(elements)
        if rng.random() < 0.2:
            del owner[tag]
        else:
            owner[tag].value = _other_value(owner[tag], rng)
        buffer = io.BytesIO()
        dataset.save_as(buffer)
    except Exception:  # what pydicom itself does not write
        return content
    return buffer.getvalue()


def _elements(dataset):
    """Elements with the data set that they are of."""
    for element in dataset:
        yield dataset, element
        for inner in element.value if element.VR == "SQ" else ():
            yield from _elements(inner)


def _other_value(element, rng):
    if element.VR in ("US", "SS", "UL", "SL"):
        return rng.choice((0, 1, 2, 3, 7, 8, 255, 65_535))
    if element.VR in ("DS", "IS", "FD", "FL"):
        values = ("nan", "inf", "-1", "0", "1e30", "1e-30", "", "3", "-1024")
        count = rng.choice((element.VM, 1, 2, 0, 7))
        return [rng.choice(values) if element.VR in ("DS", "IS") else float(rng.choice(values[:6]))
                for _ in range(count)]  # fmt: skip
    if element.VR == "SQ":
        return rng.choice(([], [*element.value, *element.value]))
    if isinstance(element.value, bytes):
        return _cut(element.value, rng, None)
    return rng.choice(("", "x", "MONOCHROME1", "PALETTE COLOR", "1.2.3", "RTSTRUCT", "é", "1" * 70))
