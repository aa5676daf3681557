"""What of the data is not read: counted by reason, and told in one way wherever a reader counts it."""

from collections.abc import Iterable
from pathlib import Path


class LeftOut:
    """What a reader passes over, by reason, with an example of each.

    A reader fills it when it is opened, and its own `notes` hold what this one's give, so that `check`,
    `fit`, `init` and `convert` tell it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}

    def add(self, reason: str, example: object = "", number: int = 1) -> None:
        """Count what is left out.

        Args:
            reason: what it is and why, in the plural, such as "shapes of the kind point".
            example: one of them; the first of a reason is kept.
            number: how many.
        """
        if number:
            self._counts[reason] = self._counts.get(reason, 0) + number
            self._examples.setdefault(reason, str(example))

    def add_all(self, reason: str, found: Iterable[object]) -> None:
        """Count each of several."""
        for each in found:
            self.add(reason, each)

    def notes(self, where: Path) -> list[str]:
        """A sentence for each reason, in the order in which they were met."""
        return [
            f"{where}: {number:,} {reason} left out"
            + (f", such as {self._examples[reason]}" if self._examples[reason] else "")
            for reason, number in self._counts.items()
        ]
