"""Words around numbers in messages."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 image`, `1,200 images`.

    Args:
        number: how many.
        noun: in the singular.
        plural: where it is not the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
