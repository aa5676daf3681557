"""A session in plain values, as the front end takes them."""

from typing import Any

import msgspec

from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.annotations import SPLITS
from samtune.page.answering import Candidate
from samtune.page.mask_message import MaskMessage
from samtune.page.parts import SceneWindows, VolumeSlices
from samtune.page.planes import tell_volume
from samtune.page.questions import Answers
from samtune.page.rounds import Tuning
from samtune.page.session import Session
from samtune.page.sides import rule_of
from samtune.page.state import Accepted, Work

Plain = dict[str, Any]


def tell_mask(mask: PlacedMask) -> Plain:
    return dict(msgspec.to_builtins(MaskMessage.of(mask)))


def tell_session(session: Session, tuning: Tuning | None) -> Plain:
    """Model, classes, rounds, and the images in the order in which they are gone through."""
    kept, source = session.kept.annotations, session.images.source
    base = session.answering.sam.base
    with_objects = {
        name: sum(each.is_used for each in kept.of_split(is_held_out))
        for is_held_out, name in SPLITS.items()
    }
    return {
        "rounds": [msgspec.to_builtins(each) for each in session.kept.rounds],
        "tuning": None if tuning is None else tuning.told(),
        "withObjects": with_objects,
        "holdOutRule": rule_of(source),
        "canLearn": any(record.split in ("", "train") for record in source.records),
        "contestants": list(session.answering.names),
        "canBeScaled": session.answering.can_be_scaled,
        "classes": session.kept.classes,
        "folder": str(session.out),
        "hasTruth": session.images.has_truth,
        "scene": _tell_scene(source) if isinstance(source, SceneWindows) else None,
        "base": base.checkpoint or base.name,
        "notes": [*session.answering.notes, *session.images.notes],
        "volume": tell_volume(source.stack) if isinstance(source, VolumeSlices) else None,
        "current": session.current,
        "progress": session.queue.progress(),
        "images": [_tell_work(session, index) for index in session.queue.order()],
    }


def _tell_scene(source: SceneWindows) -> Plain:
    cores = [(c.core.x, c.core.y, c.core.width, c.core.height) for c in source.cells]
    return {"width": source.scene.width, "height": source.scene.height, "windows": cores}


def _tell_work(session: Session, index: int) -> Plain:
    work = session.works[index]
    return {
        "index": index, "name": work.image_id, "status": work.status,
        "role": _role(work), "numObjects": len(work.history.state.objects),
        "doubt": work.doubt,
    }  # fmt: skip


def _role(work: Work) -> str:
    """What an image is for; empty without objects."""
    if work.side is None:
        return ""
    if not work.side.is_used:
        return "between"
    return "held out" if work.side.is_held_out else "to train on"


def tell_image(session: Session, index: int, known: int = -1) -> Plain:
    """An image: its prompt, and its objects where they are not those of the number `known`."""
    hw, work = session.hw(index), session.works[index]
    history = work.history
    state, objects_number = history.state, history.objects_number
    records = session.images.source.records
    group = records[index].group
    told = {
        "index": index, "name": work.image_id, "height": hw[0], "width": hw[1],
        "status": work.status, "role": _role(work), "number": history.number,
        "isHeldOut": work.side is not None and work.side.is_held_out,
        "group": group, "numTied": sum(each.group == group for each in records) if group else 1,
        "clicks": [[click.x, click.y, click.is_inside] for click in state.clicks],
        "box": state.box, "hand": None if state.hand is None else tell_mask(state.hand),
        "replaces": state.replaces, "canUndo": history.can_undo, "canRedo": history.can_redo,
        "objectsNumber": objects_number,
    }  # fmt: skip
    source = session.images.source
    if isinstance(source, SceneWindows) and source.scene.is_placed:
        told["onMap"] = source.corner_to_crs(index)
    if known != objects_number:
        told["objects"] = [
            {**_tell_object(each), "slices": len(session.slices_of(each.number))}
            for each in state.objects
        ]
        told["beside"] = [
            {"name": each.name, "mask": tell_mask(each.mask)}
            for each in session.objects_beside(index)
        ]
        told["suggested"] = [
            {**_tell_object(each), "slices": len(session.suggested_on(each.number))}
            for each in state.suggested
        ]
    return told


def _tell_object(made: Accepted) -> Plain:
    return {
        "number": made.number, "name": made.name, "by": made.by, "score": made.score,
        "area": made.mask.area, "mask": tell_mask(made.mask),
    }  # fmt: skip


def tell_answers(answers: Answers | None, number: int) -> Plain:
    """What base and tuned say; of a question that was overtaken, that it is."""
    if answers is None:
        return {"number": number, "isStale": True}
    offers = {
        name: {
            "best": offer.best, "agreement": offer.agreement,
            "candidates": [_tell_candidate(each) for each in offer.candidates],
        }
        for name, offer in answers.offers.items()
    }  # fmt: skip
    return {
        "number": answers.number, "strength": answers.strength, "isFinal": answers.is_final,
        "isStale": False, "agreement": answers.agreement, "offers": offers,
    }  # fmt: skip


def _tell_candidate(candidate: Candidate) -> Plain:
    mask = tell_mask(candidate.mask)
    return {"score": candidate.score, "iou": candidate.iou, "mask": mask}


def tell_plane(session: Session, axis: int, number: int) -> Plain:
    """The objects that a slice across an axis of a volume shows."""
    objects = [work.history.state.objects for work in session.works]
    cuts = session.planes.cuts(axis, number, objects)
    return {"objects": [{"name": each.name, "mask": tell_mask(mask)} for each, mask in cuts]}
