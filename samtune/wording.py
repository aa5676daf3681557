"""Words around numbers in messages."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 image`, `1,200 images`.

    Args:
        number: how many.
        noun: in the singular.
        plural: where it is not the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A time as people say it: `40 s`, `5 min`, `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def signed(difference: float) -> str:
    """A difference to three digits with its sign; what rounds to nothing is `+0.000`."""
    return f"{round(difference, 3) + 0.0:+.3f}"
