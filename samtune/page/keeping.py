"""What a session has is on the disk at once, and comes back from there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from samtune.data.source import Source
from samtune.errors import UserError
from samtune.images.writing import write_image
from samtune.page.annotations import Annotations, Entry
from samtune.page.remembering import remembered, to_remember
from samtune.page.rounds import read_rounds
from samtune.page.sides import group_of, placed, side_of
from samtune.page.state import History, Work
from samtune.page.wholes import write_whole
from samtune.reading import Reading
from samtune.types import Sample

_LONGEST_NAME = 200


class Keeping:
    """The folder of a session and the images that belong to it.

    Args:
        out: the folder.
        source: of the images.
        works: what is known of each; what lies in the folder is put there.
        reading: by which the source reads.
        sample: reads an image.

    Attributes:
        classes: names that objects are given, in their order.
        rounds: of tuning on what was accepted.

    Raises:
        UserError: the folder holds something else, or two images would have one name there.
    """

    def __init__(
        self, out: Path, source: Source, works: Sequence[Work], reading: Reading,
        sample: Callable[[int], Sample],
    ) -> None:  # fmt: skip
        self.out, self._source, self._works, self._sample = out, source, works, sample
        self._stems = _stems([work.image_id for work in works])
        # parts of a larger file are kept as they were seen
        self.annotations = Annotations(out, Reading() if source.is_part else reading)
        known = remembered(self.annotations.read_session(), out / "session.json")
        self.rounds = read_rounds(out)
        entries = self.annotations.entries
        named = [each.name for entry in entries.values() for each in entry.objects]
        self.classes = list(dict.fromkeys([*known.classes, *named])) or ["object"]
        for index, work in enumerate(works):
            entry = entries.get(work.image_id)
            if entry is not None:
                work.status, work.side = entry.status, entry.side
            objects = () if entry is None else entry.objects
            work.history = History(known.state(work.image_id, objects))
            if known.has_suggestions_of(work.image_id):
                work.prelabelled = ()
            if work.status == "untouched" and not work.history.state.is_empty:
                work.status = "in work"
            if entry is not None and work.image_id in self.annotations.unfinished:
                self.annotations.write_others(entry, self._sample(index).image)

    def write(self, indices: Sequence[int]) -> None:
        """Keep the objects of images, their status and whether they are held out."""
        places = {self._works[index].image_id: index for index in indices}
        known = dict(self.annotations.entries)
        for index in indices:
            known[self._works[index].image_id] = self._entry(index, known)
        entries = [known[name] for name in places]
        self.annotations.write(entries, lambda name: self._sample(places[name]).image)

    def _entry(self, index: int, known: Mapping[str, Entry]) -> Entry:
        """What is to be written of an image, beside what is known of all."""
        work, group = self._works[index], group_of(self._source, index)
        objects, before = work.history.state.objects, known.get(work.image_id)
        if work.side is None and objects:
            work.side = side_of(self._source, index, known)
        name = before.file_name if before else self._copy_image(index)
        image = self._sample(index).image
        hw = (image.shape[0], image.shape[1])
        return Entry(work.image_id, name, hw, objects, work.status, group, work.side)

    def tied_to(self, index: int) -> list[int]:
        """An image, and those of its group that have a side."""
        group = group_of(self._source, index)
        return [
            place for place, work in enumerate(self._works)
            if place == index or (work.side is not None and group_of(self._source, place) == group)
        ]  # fmt: skip

    def hold_out(self, indices: Sequence[int], is_held_out: bool) -> None:
        """Put images of one group on a side, and keep that."""
        for index in indices:
            entries = self.annotations.entries
            self._works[index].side = placed(self._source, index, is_held_out, entries)
        self.write(indices)

    def write_whole(self) -> None:
        """Keep the objects of all parts of a scene or of a volume together."""
        objects = [work.history.state.objects for work in self._works]
        write_whole(self.out, self._source, objects)

    def write_session(self) -> None:
        """Keep prompts that were begun, and classes."""
        prompts = {}
        for work in self._works:
            state = work.history.state
            is_touched = state.suggested != (work.prelabelled or ())
            is_done = work.prelabelled == () and not state.suggested
            if not state.is_empty or state.replaces or is_touched or is_done:
                prompts[work.image_id] = to_remember(state, is_touched or is_done)
        self.annotations.write_session({"classes": self.classes, "prompts": prompts})

    def know_classes(self, names: Iterable[str]) -> None:
        """Add classes that are not known yet."""
        self.classes += [name for name in dict.fromkeys(names) if name not in self.classes]

    def class_name(self, name: str) -> str:
        """A name as a class has it; the first class where it is empty.

        Raises:
            UserError: it cannot be the name of a class.
        """
        name = " ".join(name.split())
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise UserError(
                f"a class is named by up to {_LONGEST_NAME} characters that can be read"
            )
        return name or self.classes[0]

    @property
    def trained_on(self) -> set[str]:
        """Ids of images that a model which was used has learned from."""
        return {image_id for each in self.rounds if each.is_used for image_id in each.trained_on}

    def _copy_image(self, index: int) -> str:
        """Put an image beside its annotations; returns its name there."""
        file = None if self._source.is_part else self._source.image_file(index)
        place = self.out / "images" / self._stems[index]
        return f"images/{write_image(file, self._sample(index).image, place).name}"


def _stems(ids: Sequence[str]) -> list[str]:
    """File names of images without their endings.

    Raises:
        UserError: two images would have one.
    """
    stems = [each.replace("/", "_").replace("@", "_") for each in ids]
    taken: dict[str, str] = {}
    for image_id, stem in zip(ids, stems, strict=True):
        if taken.setdefault(stem, image_id) != image_id:
            raise UserError(f"{taken[stem]} and {image_id} would both be called {stem}: rename one")
    return stems
