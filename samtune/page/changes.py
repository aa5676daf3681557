"""Changes of images: one at a time, and on the disk before the next one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock

from samtune.errors import UserError
from samtune.page.keeping import Keeping
from samtune.page.state import State, Work


class Changes:
    """Changes what is known of images, and keeps it.

    Args:
        works: what is known of each image.
        kept: where it is written.
    """

    def __init__(self, works: Sequence[Work], kept: Keeping) -> None:
        self._works, self._kept, self.lock = works, kept, RLock()

    def change(
        self, index: int, change: Callable[[State], State], number: int | None = None
    ) -> int:
        """Make another state of the present one, which is that of `number`; returns its number."""
        with self.changing(index) as work:
            if number is not None and work.history.number != number:
                raise UserError("the image was changed at the same time: try again")
            work.history.change(change(work.history.state))
            return work.history.number

    @contextmanager
    def changing(self, index: int) -> Iterator[Work]:
        """One change at a time; what it changed is written before the block ends, or nothing changes.

        Raises:
            UserError: there is no such image, or it cannot be written.
        """
        self.require(index)
        with self.lock:
            work = self._works[index]
            before = work.history.copy(), work.status, work.is_held_out
            try:
                yield work
                now = work.history.state
                if work.status == "untouched" and not (now.is_empty and not now.objects):
                    work.status = "in work"
                if now.objects is not before[0].state.objects:
                    self._kept.write(index)
                self._kept.write_session()
            except BaseException as error:
                work.history, work.status, work.is_held_out = before
                if isinstance(error, OSError):
                    where = self._kept.out
                    raise UserError(
                        f"nothing was changed, for {where} cannot be written: {error.strerror}"
                    ) from error
                raise

    def require(self, index: int) -> int:
        """The same index.

        Raises:
            UserError: there is no such image.
        """
        if not 0 <= index < len(self._works):
            raise UserError(f"there is no image {index}: there are {len(self._works)}")
        return index
