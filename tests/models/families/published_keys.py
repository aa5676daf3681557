"""State dicts as the authors publish them."""

import re
from itertools import chain
from pathlib import Path

PUBLISHED = Path(__file__).parent / "published"


def published(file):
    """Key -> shape; a line of the file stands for all keys that differ in a number."""
    shapes = {}
    for line in (PUBLISHED / f"{file}.txt").read_text().splitlines():
        key, _, shape = line.partition(" ")
        match = re.search(r"\{([\d,-]+)\}", key)
        spans = [part.split("-") for part in match[1].split(",")] if match else []
        numbers = chain.from_iterable(range(int(s[0]), int(s[-1]) + 1) for s in spans)
        for number in numbers if match else (None,):
            name = key if match is None else key.replace(match[0], str(number))
            shapes[name] = () if shape == "-" else tuple(map(int, shape.split(",")))
    return shapes
