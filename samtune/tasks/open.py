"""`open`: a page on which images are clicked, with base and tuned side by side."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from samtune.errors import UserError, require
from samtune.inference.settings import Focus
from samtune.locks import locked
from samtune.ranges import Count
from samtune.reading import Reading
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_data, open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run, find_run, is_tuned, lasting_name, training_files
from samtune.tasks.settings import Layer, reading_of, require_reading
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.page.images import Images
    from samtune.page.rounds import Round, Start, Tuning
    from samtune.page.session import Session
    from samtune.types import MaskArray

log = logging.getLogger(__name__)
# What a round of tuning that the page starts may take
_ROUND_SECONDS = 60
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


@dataclass(frozen=True)
class Opened(Result):
    """Images that are gone through with a model; `serve` shows them on a page.

    Attributes:
        session: that answers and keeps: without a page too, by `session.click`, `answer`, `accept`.
        host, port: that the page is to listen on.
        no_browser: its address is printed alone.
        start: what rounds of tuning begin with.
        device: that it is on.
    """

    session: Session
    host: str = "127.0.0.1"
    port: int = 0
    no_browser: bool = False
    start: Start | None = None
    device: str = "auto"

    @property
    def masks(self) -> Mapping[str, Mapping[int, MaskArray]]:
        """(H, W) boolean masks of all accepted objects, by image and number."""
        return self.session.masks

    @property
    def headline(self) -> str:
        objects = [len(work.history.state.objects) for work in self.session.works]
        if not any(objects):
            return f"{counted(len(objects), 'image')}, no objects yet: {self.session.out}"
        return (
            f"{counted(sum(objects), 'object')} in "
            f"{counted(sum(map(bool, objects)), 'image')}: {self.session.out}"
        )

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "objects": [
                {"image": work.image_id, "object": made.number, "class": made.name, "by": made.by,
                 "score": made.score, "area": made.mask.area}
                for work in self.session.works for made in work.history.state.objects
            ]
        }  # fmt: skip

    def serve(self) -> None:
        """Serve the page until it is interrupted.

        Raises:
            UserError: starlette or uvicorn are not installed, the port is taken, or another page has
                the folder open.
        """
        require("starlette", "page")
        require("uvicorn", "page")
        from samtune.page.guard import is_loopback, name_of
        from samtune.page.server import listen, serve

        listening, token = listen(self.host, self.port), secrets.token_urlsafe(16)
        name = name_of(self.host)
        address = f"http://{name}:{listening.getsockname()[1]}/{token}/"
        if not is_loopback(self.host):
            log.warning(
                "the page can be reached from other machines, by whoever has its address, and what "
                "is sent is not encrypted: leave out --host unless the network is yours"
            )
        opens = "" if self.no_browser else address
        with locked(self.session.out):
            log.info("%s", address)
            serve(self.session, listening, token, self._tuning(), opens)

    def _repr_mimebundle_(self, **how: Any) -> Any:
        """In a notebook the clickable images; where it has no widgets, the table of objects."""
        try:
            from samtune.page.widget import PageWidget
        except ImportError:
            return None
        return PageWidget(self.session)._repr_mimebundle_(**how)

    def _tuning(self) -> Tuning | None:
        """Rounds of tuning; what they train is used at once where it helps."""
        from samtune.page.rounds import Tuning, read_rounds

        if self.start is None:
            return None

        def is_over(made: Round) -> None:
            self.session.kept.rounds = read_rounds(self.session.out)
            if made.is_used:
                self.session.set_model(open_model(made.run, device=self.device), True)

        return Tuning(self.session.out, self.start, _ROUND_SECONDS, is_over)


@task
def open(
    model: str | Path | Run,
    images: Sequence[str | Path] = (),
    *,
    out: str | Path | None = None,
    prelabels: str | Path | None = None,
    focus: Focus = "auto",
    reading: Layer | Reading | None = None,
    host: str = "127.0.0.1",
    port: Port = 0,
    no_browser: bool = False,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> Opened:
    """Click on images, see base and tuned side by side, and keep the masks as labels.

    What is accepted is on the disk at once, and comes back when the same folder is opened again. The
    command opens a page; Ctrl-C ends it.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        images: folder of images, image files, or a data set, whose labels are the truth (default:
            the held-out images of the run).
        out: folder for the annotations, which `samtune fit` takes (default: beside the images, with
            `-annotated` to its name).
        prelabels: COCO file of `samtune prelabel`: its objects are there to be accepted or rejected,
            and those images come first that review.csv beside it doubts.
        focus: `auto` looks at small objects in a window around them; `off` never does.
        reading: of the pixels, where it is to be otherwise than in training.
        host: network address of the page; the default can be reached from this machine alone.
        port: to listen on; 0 takes a free one.
        no_browser: print the address of the page, and do not open it in the browser.
        checkpoint: official weights for a registry name.
        image_size: side of the square input of a base model; 0 takes its own.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: there are no images, or the folder holds something else.
    """
    from samtune.page.images import open_images, told_darkness
    from samtune.page.prelabels import Prelabels
    from samtune.page.rounds import Start, present_model, read_rounds
    from samtune.page.session import Session

    require_reading(reading, ("bands", "stretch", "value_range", "window", "tile"))
    paths = [Path(image) for image in images]
    folder = _folder(model, paths, out)
    labelled = None if prelabels is None else Prelabels(Path(prelabels))
    weights = "" if checkpoint is None else str(Path(checkpoint).resolve())
    start = Start(lasting_name(model), weights, image_size)
    present = present_model(start, read_rounds(folder))
    seen = sam = open_model(start.model, checkpoint, image_size, device)
    if present != start.model:
        # a round may have been trained on pictures of what was read by the first model
        log.info("what round %s has trained is used", Path(present).parent.name)
        sam = open_model(present, device=device)
    sam.reading = reading_of(seen, reading)
    found = open_images(paths, sam.reading, [folder]) if paths else _of_run(model)
    if not is_tuned(start.model):  # a tuned model sees images as it was trained to
        found = replace(found, notes=told_darkness(found, sam.reading))
    else:
        found = replace(found, notes=_told_training(model, found))
    for each in found.notes:
        log.warning("NOTE: %s", each)
    session = Session(sam, is_tuned(present), found, folder, focus, labelled)
    return Opened(session, host, port, no_browser, start, device)


def _told_training(model: str | Path | Run, images: Images) -> list[str]:
    """That a run was trained or validated on some of the images."""
    files = training_files(find_run(Path(model)))
    shown = {record.path.resolve() for record in images.source.records}
    if not (seen := shown & files):
        return []
    return [
        f"the run was trained or validated on {counted(len(seen), 'image')} of {len(shown)} (such as "
        f"{min(seen).name}): the tuned model looks better there than it is"
    ]


def _folder(model: str | Path | Run, images: Sequence[Path], out: str | Path | None) -> Path:
    """Where annotations go: beside the images, or into the run whose images they are.

    Raises:
        UserError: there are no images, and the model is no run, which would know some.
    """
    run = find_run(Path(model))
    if not images and run is None:
        raise UserError(f"{model} is no run, so name the images to open")
    if out is not None:
        return Path(out)
    if not images:
        assert run is not None
        return run / "annotated"
    whole = images[0].resolve()
    return whole.with_name(f"{whole.stem if whole.is_file() else whole.name}-annotated")


def _of_run(model: str | Path | Run) -> Images:
    """The held-out images of a run."""
    from samtune.page.images import AllSplits, Images

    run = find_run(Path(model))
    data = open_data(run)
    sizes = data.split_sizes()
    split = next((name for name in ("test", "val", "train") if sizes.get(name)), "test")
    return Images(AllSplits({split: data.tiles(split)}), True)
