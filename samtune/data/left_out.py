"""What of the data is not read: counted by reason, and told in one way wherever a reader counts it."""

from collections.abc import Iterable
from pathlib import Path

from samtune.wording import counted


class LeftOut:
    """What a reader passes over, by reason, with an example of each.

    A reader fills it when it is opened, and its own `notes` hold what this one's give, so that `check`,
    `fit`, `init` and `convert` tell it.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, noun: str, why: str, example: object = "", number: int = 1) -> None:
        """Count what is left out.

        Args:
            noun: what it is, in the singular, such as "shape".
            why: what follows it, such as "of the kind point".
            example: one of them; the first of a reason is kept.
            number: how many.
        """
        if number:
            reason = noun, why
            self._counts[reason] = self._counts.get(reason, 0) + number
            self._examples.setdefault(reason, str(example))

    def add_all(self, noun: str, why: str, found: Iterable[object]) -> None:
        """Count each of several."""
        for each in found:
            self.add(noun, why, each)

    def notes(self, where: Path) -> list[str]:
        """A sentence for each reason, in the order in which they were met."""
        return [
            f"{where}: {counted(number, noun)} {why} left out"
            + (f", such as {example}" if (example := self._examples[noun, why]) else "")
            for (noun, why), number in self._counts.items()
        ]
