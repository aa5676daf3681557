"""Changes of images: one at a time, and on the disk before the next one."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock

from samtune.errors import UserError
from samtune.page.keeping import Keeping
from samtune.page.state import State, Work

Change = Callable[[State], State]


class Changes:
    """Changes what is known of images, and keeps it.

    Args:
        works: what is known of each image.
        kept: where it is written.
    """

    def __init__(self, works: Sequence[Work], kept: Keeping) -> None:
        self._works, self._kept, self.lock = works, kept, RLock()

    def change(self, index: int, change: Change, number: int | None = None) -> int:
        """Make another state of the present one, which is that of `number`; returns its number."""
        with self.changing([index]):
            history = self._works[index].history
            if number not in (None, history.number):
                raise UserError("the image was changed at the same time: try again")
            history.change(change(history.state))
            return history.number

    def change_all(self, changes: Mapping[int, Change]) -> None:
        """Make other states of several images, all of them or none."""
        with self.changing(changes):
            for index, change in changes.items():
                history = self._works[index].history
                history.change(change(history.state))

    @contextmanager
    def changing(self, indices: Collection[int]) -> Iterator[None]:
        """One change at a time; what it changed is written before the block ends, or nothing changes.

        Raises:
            UserError: there is no such image, or it cannot be written.
        """
        works = [self._works[self.require(index)] for index in indices]
        with self.lock:
            before = [work.copy() for work in works]
            entries = dict(self._kept.annotations.entries)
            try:
                yield
                self._keep(dict(zip(indices, before, strict=True)))
            except BaseException as error:
                for work, old in zip(works, before, strict=True):
                    work.history, work.status, work.side = old.history, old.status, old.side
                self._kept.annotations.restore(entries)
                if isinstance(error, OSError):
                    where = self._kept.out
                    raise UserError(
                        f"nothing was changed, for {where} cannot be written: {error.strerror}"
                    ) from error
                raise

    def _keep(self, before: Mapping[int, Work]) -> None:
        """Write what is other than before."""
        others = []
        for index, old in before.items():
            work, now = self._works[index], self._works[index].history.state
            if work.status == "untouched" and not (now.is_empty and not now.objects):
                work.status = "in work"
            if now.objects is not old.history.state.objects:
                others.append(index)
        if others:
            self._kept.write(others)
            self._kept.write_whole()
        self._kept.write_session()

    def require(self, index: int) -> int:
        """The same index.

        Raises:
            UserError: there is no such image.
        """
        if not 0 <= index < len(self._works):
            raise UserError(f"there is no image {index}: there are {len(self._works)}")
        return index
