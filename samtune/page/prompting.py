"""The images of a session and the prompt that is being made on each: what needs no network."""

from collections.abc import Callable, Sequence
from pathlib import Path

from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.changes import Changes
from samtune.page.images import Images
from samtune.page.keeping import Keeping
from samtune.page.numbering import Numbering
from samtune.page.parts import SceneWindows, VolumeSlices
from samtune.page.planes import Planes
from samtune.page.prelabels import Prelabelled, Prelabels
from samtune.page.queue import Queue
from samtune.page.samples import Samples
from samtune.page.seams import objects_beside
from samtune.page.state import Accepted, By, Click, State, Work
from samtune.reading import Reading
from samtune.types import Sample


class Prompting:
    """Images that are gone through, and the prompt on each.

    Args:
        images: what is gone through.
        out: folder for the annotations; what an earlier session left there comes back.
        reading: by which images are read.
        prelabels: what `samtune prelabel` made of the images; `None` is nothing.

    Attributes:
        works: what is known of each image.
        queue: in which order they are gone through.
        kept: what is written of them: classes and rounds of tuning, too.
        current: image that is looked at.

    Raises:
        UserError: the folder holds something else, or two images would have one name there.
    """

    def __init__(
        self, images: Images, out: Path, reading: Reading, prelabels: Prelabels | None
    ) -> None:
        self.images, self.out, records = images, out, images.source.records
        self.works = [Work(record.image_id) for record in records]
        self._prelabelled = Prelabelled(prelabels, records)
        self.queue = Queue(self.works, self._prelabelled.trusts, self.is_stack)
        self._samples = Samples(images.source)
        self._numbering = Numbering(self.works, self.is_stack)
        self.kept = Keeping(out, images.source, self.works, reading, self._samples.sample)
        self._changes = Changes(self.works, self.kept)
        self.current = len(self.works) // 2 if self.is_stack else self.queue.order()[0]

    @property
    def planes(self) -> Planes:
        """The planes of the volume whose slices these are.

        Raises:
            UserError: they are of none.
        """
        source = self.images.source
        if not isinstance(source, VolumeSlices):
            raise UserError("these images are no slices of a volume, which would have planes")
        return Planes(source.stack)

    def objects_beside(self, index: int) -> list[Accepted]:
        """What was accepted in other windows of a scene and is seen in this one, in its pixels."""
        source = self.images.source
        if not isinstance(source, SceneWindows):
            return []
        objects = [work.history.state.objects for work in self.works]
        return list(objects_beside(source.cells, objects, index))

    @property
    def is_stack(self) -> bool:
        """Whether the images are the slices of one volume, in their order."""
        return isinstance(self.images.source, VolumeSlices)

    def _suggest_prelabelled(self, index: int, by: By) -> None:
        """Suggest what was labelled before in an image, once."""
        work, known = self.works[index], self._prelabelled
        if not known.is_there or work.prelabelled is not None:
            return
        found = known.objects(work.image_id, self.hw(index), by)
        with self._changes.lock:
            self.kept.know_classes(known.classes)
            work.prelabelled = found
            work.history.state = work.history.state.suggesting(found)

    def sample(self, index: int) -> Sample:
        """An image as the model sees it, and its truth where it is known.

        Raises:
            UserError: it cannot be read.
        """
        return self._samples.sample(index)

    def picture(self, index: int) -> bytes:
        """PNG of an image as the model sees it."""
        return self._samples.picture(index)

    def hw(self, index: int) -> tuple[int, int]:
        """Height and width of an image."""
        return self._samples.hw(index)

    def state(self, index: int) -> State:
        return self.works[self._changes.require(index)].history.state

    def click(self, index: int, x: float, y: float, is_inside: bool = True) -> int:
        """Add a click, pixels of the image; returns the number of the question that this makes.

        Raises:
            UserError: it lies outside the image.
        """
        click = Click(float(x), float(y), bool(is_inside))
        return self._prompted(index, lambda state: state.clicked(click))

    def drag_box(self, index: int, box_xyxy: Sequence[float]) -> int:
        """Set the box, pixels of the image, which takes the place of one that was there.

        Raises:
            UserError: it reaches out of the image.
        """
        corners = [float(corner) for corner in box_xyxy]
        return self._prompted(index, lambda state: state.boxed(corners))

    def _prompted(self, index: int, change: Callable[[State], State]) -> int:
        hw = self.hw(self._changes.require(index))

        def checked(state: State) -> State:
            changed = change(state)
            assert changed.prompt is not None
            changed.prompt.require_inside(hw, self.works[index].image_id)
            return changed

        return self._changes.change(index, checked)

    def mend(self, index: int, mask: PlacedMask) -> int:
        """Take a mask that was drawn or mended by hand, until the next click.

        Raises:
            UserError: it reaches out of the image.
        """
        (height, width), part = self.hw(index), mask.part.shape
        if not (0 <= mask.top <= height - part[0] and 0 <= mask.left <= width - part[1]):
            raise UserError(f"the mask reaches out of {self.works[index].image_id}")
        mended = PlacedMask.of(mask.part, mask.top, mask.left)
        return self._changes.change(index, lambda state: state.mended(mended))

    def clear(self, index: int) -> int:
        """Drop the prompt that was begun."""
        return self._changes.change(index, State.cleared)

    def undo(self, index: int) -> int:
        """Go back by one change of whatever kind."""
        with self._changes.changing([index]):
            self.works[index].history.undo()
            return self.works[index].history.number

    def redo(self, index: int) -> int:
        """Take back the last undo."""
        with self._changes.changing([index]):
            self.works[index].history.redo()
            return self.works[index].history.number
