"""The session without a server: what is asked, answered, accepted and kept."""

import json
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

import samtune
from samtune.data.formats import open_splits, recognise
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.inference.predictor import SamPredictor
from samtune.inference.prelabel.placed_mask import PlacedMask, placed_iou
from samtune.page.images import open_images
from samtune.page.prelabels import Prelabels
from samtune.page.session import Session
from samtune.page.told import tell_session
from samtune.page.truth import iou_with, object_meant
from samtune.page.turns import Turns
from samtune.types import Prompt
from tests.conftest import write_discs


def masks_by(offer, hw):
    return np.stack([each.mask.whole(hw) for each in offer.candidates])


@pytest.mark.parametrize("focus", ["off", "auto"])
def test_masks_are_those_of_the_predictor(open_it, tuned, focus):
    session = open_it(focus=focus)
    predictor = SamPredictor(tuned, focus=focus)
    image = session.sample(0).image
    session.click(0, 40, 30)
    one = session.answer(0)
    session.click(0, 90, 60, is_inside=False)
    session.drag_box(0, [10, 5, 80, 70])
    more = session.answer(0)
    points = np.array([[40, 30], [90, 60]]), np.array([1, 0])
    asked = {
        "tuned": ((points[0][:1], points[1][:1], None, True), (*points, [10, 5, 80, 70], False)),
    }

    def predicted():
        predictor.set_image(image)
        single, several = (
            predictor.predict(p, labels, box, multimask_output=multimask)[:2]
            for p, labels, box, multimask in asked["tuned"]
        )
        return single, several

    with tuned.base_weights():
        base = predicted()
    by_name = {"tuned": predicted(), "base": base}
    for name, (single, several) in by_name.items():
        assert np.array_equal(masks_by(one.offers[name], image.shape[:2]), single[0])
        assert np.array_equal(masks_by(more.offers[name], image.shape[:2]), several[0])
        scores = [each.score for each in one.offers[name].candidates]
        assert scores == pytest.approx(single[1].tolist(), abs=1e-6)
    different = one.offers["base"].candidates[0].score, one.offers["tuned"].candidates[0].score
    assert different[0] != different[1]


def test_a_quick_answer_is_from_what_is_encoded_already(open_it, tuned):
    session = open_it()
    assert session.work_ahead()
    session.click(0, 40, 30)
    quick = session.answer(0, is_quick=True)
    predictor = SamPredictor(tuned)
    predictor.set_image(session.sample(0).image)
    whole = predictor.predict(np.array([[40, 30]]), np.array([1]))[0]
    assert np.array_equal(masks_by(quick.offers["tuned"], (90, 120)), whole)
    assert quick.is_final or session.answer(0).offers["tuned"] is not quick.offers["tuned"]


def test_strength_goes_from_the_base_to_the_tuned_model(open_it):
    session = open_it()
    session.click(0, 40, 30)
    full = session.answer(0)
    none = session.answer(0, strength=0.0)
    for one, other in (
        (none.offers["tuned"], none.offers["base"]),
        (session.answer(0).offers["tuned"], full.offers["tuned"]),
    ):
        assert np.array_equal(masks_by(one, (90, 120)), masks_by(other, (90, 120)))
    assert none.agreement == 1.0


def test_an_answer_is_of_its_question_alone(open_it):
    session = open_it()
    first = session.click(0, 40, 30)
    second = session.click(0, 80, 50)
    assert session.answer(0, first) is None
    assert session.answer(0, second).number == second
    with pytest.raises(UserError, match="prompt has changed"):
        session.accept(0, number=first)
    session.undo(0)
    assert session.answer(0, second) is None


def test_clicks_from_many_threads_are_all_there_and_the_last_is_answered(open_it):
    session = open_it()
    found = []

    def click(x):
        found.append(session.answer(0, session.click(0, x, 40)))

    threads = [threading.Thread(target=click, args=(10 * n,)) for n in range(1, 7)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(session.state(0).clicks) == 6
    last = session.works[0].history.number
    answered = [each for each in found if each is not None and each.number == last]
    assert len(answered) == 1


def test_truth_is_measured_where_there_is_one(open_it, tmp_path):
    write_discs(tmp_path / "data", "train", 2)
    write_discs(tmp_path / "data", "val", 1)
    session = open_it(tmp_path / "data")
    labels = session.sample(0).labels
    y, x = (int(v[0]) for v in np.nonzero(labels[0] == 1))
    session.click(0, x, y)
    for offer in session.answer(0).offers.values():
        for each in offer.candidates:
            mask = each.mask.whole((64, 64))
            truth = labels[0] == 1
            assert each.iou == pytest.approx((mask & truth).sum() / (mask | truth).sum())


def test_without_truth_nothing_is_measured(open_it):
    session = open_it()
    session.click(0, 40, 30)
    offers = session.answer(0).offers.values()
    assert {each.iou for offer in offers for each in offer.candidates} == {None}


def test_the_object_that_is_meant():
    labels = np.zeros((2, 10, 10), np.int32)
    labels[0, 1:9, 1:9] = 1
    labels[1, 3:5, 3:5] = 2

    def at(*points, box=None):
        coords = np.array([p[:2] for p in points], np.float32) if points else None
        inside = np.array([p[2] for p in points], np.int64) if points else None
        prompt = Prompt(coords, inside, None if box is None else np.array(box, np.float32))
        found = object_meant(labels, prompt)
        return None if found is None else int(found.sum())

    assert at((3, 3, 1)) == 4
    assert at((7, 7, 1)) == 64
    assert at((0, 0, 1)) is None
    assert at((3, 3, 0), (7, 7, 1)) == 64
    assert at(box=[3, 3, 4, 4]) == 4
    assert at(box=[0, 0, 9, 9]) == 64
    assert at((0, 0, 0)) is None


def test_iou_of_placed_masks():
    one = PlacedMask(0, 0, np.ones((2, 2), np.bool_))
    other = PlacedMask(1, 1, np.ones((2, 2), np.bool_))
    empty = PlacedMask(0, 0, np.zeros((1, 1), np.bool_))
    assert placed_iou(one, other) == pytest.approx(1 / 7)
    assert placed_iou(empty, empty) == 1.0
    assert iou_with(one, np.pad(np.ones((2, 1), np.bool_), ((0, 2), (0, 3)))) == 0.5


def test_what_is_accepted_is_on_the_disk_and_comes_back(open_it, tmp_path):
    session = open_it()
    session.click(0, 40, 30)
    answers = session.answer(0)
    session.accept(0, "cell", candidate=1, number=answers.number)
    chosen = answers.offers["tuned"].candidates[1]
    session.drag_box(0, [20, 20, 60, 60])
    session.accept(0, "other", by="base")
    session.click(1, 50, 50)
    again = open_it()
    assert again.state(0).is_empty
    assert [(each.name, each.by) for each in again.state(0).objects] == [
        ("cell", "tuned"), ("other", "base"),
    ]  # fmt: skip
    for number, mask in session.masks_of(0).items():
        assert np.array_equal(mask, again.masks_of(0)[number])
    assert np.array_equal(again.masks_of(0)[1], chosen.mask.whole((90, 120)))
    assert again.state(0).objects[0].score == pytest.approx(chosen.score)
    # a prompt that was begun is there too
    assert again.state(1).clicks == session.state(1).clicks
    assert [work.status for work in again.works] == ["in work", "in work", "untouched"]
    assert again.kept.classes == ["object", "cell", "other"]


def test_fit_takes_the_folder(open_it, tmp_path, square):
    session = open_it()
    for index in range(3):
        session.mend(index, square)
        session.accept(index, "cell")
    folder = tmp_path / "kept"
    assert recognise(folder) == "coco"
    splits = open_splits(folder, "coco", SourceSettings(), SplitSettings())
    # of the first eight images every second is held out
    ids = {name: [record.image_id for record in part.records] for name, part in splits.items()}
    assert ids == {"train": ["p0", "p2"], "val": ["p1"]}
    sample = splits["val"].read(0)
    assert np.array_equal(sample.labels[0] == 1, square.whole((90, 120)))
    assert sample.classes == {1: "cell"}
    assert np.array_equal(sample.image, session.sample(1).image)


def test_label_maps_labelme_and_cutouts_are_of_the_same_objects(open_it, tmp_path, square):
    session = open_it()
    session.mend(0, square)
    session.accept(0, "cell")
    later = PlacedMask(12, 22, np.ones((5, 5), np.bool_))
    session.mend(0, later)
    session.accept(0, "other")
    folder = tmp_path / "kept"
    labels = np.asarray(Image.open(folder / "label_maps" / "p0.png"))
    first, second = square.whole((90, 120)), later.whole((90, 120))
    assert np.array_equal(labels, np.where(second, 2, np.where(first, 1, 0)))
    shapes = open_splits(folder / "images", "labelme", SourceSettings(), SplitSettings())
    sample = next(part.read(0) for part in shapes.values() if len(part))
    masks = [(sample.labels == number).any(0) for number in (1, 2)]
    assert np.array_equal(masks[0], first)
    assert np.array_equal(masks[1], second)
    cutout = np.asarray(Image.open(folder / "cutouts" / "p0_1.png"))
    assert cutout.shape == (4, 6, 4)
    assert np.array_equal(cutout[..., :3], session.sample(0).image[10:14, 20:26])
    session.delete(0, 1)
    assert sorted(file.name for file in (folder / "cutouts").iterdir()) == ["p0_2.png"]


def test_undo_takes_an_accepted_object_back(open_it, tmp_path, square):
    session = open_it()
    session.mend(0, square)
    session.accept(0, "cell")
    session.undo(0)
    assert session.state(0).hand is not None
    assert not open_it().masks_of(0)
    session.redo(0)
    assert np.array_equal(open_it().masks_of(0)[1], square.whole((90, 120)))


def test_an_object_is_mended_and_replaced(open_it, square):
    session = open_it()
    session.mend(0, square)
    session.accept(0, "cell")
    session.edit(0, 1)
    other = PlacedMask(0, 0, np.ones((3, 3), np.bool_))
    session.mend(0, other)
    session.accept(0, "cell")
    assert list(session.masks_of(0)) == [1]
    assert np.array_equal(session.masks_of(0)[1], other.whole((90, 120)))
    assert session.state(0).objects[0].by == "hand"


def test_what_a_crash_left_half_done_is_put_right(open_it, tmp_path, square):
    session = open_it()
    session.mend(0, square)
    session.accept(0)
    stale = tmp_path / "kept" / "label_maps" / "p0.png"
    Image.fromarray(np.zeros((90, 120), np.uint16)).save(stale)
    open_it()
    assert np.array_equal(np.asarray(Image.open(stale)) == 1, square.whole((90, 120)))


def test_an_image_left_in_both_files_is_held_out(open_it, tmp_path, square):
    session = open_it()
    session.mend(0, square)
    session.accept(0)
    folder = tmp_path / "kept"
    before = (folder / "train.json").read_text()
    session.hold_out(0, True)
    assert not (folder / "train.json").exists()
    (folder / "train.json").write_text(before)
    again = open_it()
    assert again.works[0].side.is_held_out
    assert len(again.masks_of(0)) == 1


def test_what_was_trained_on_is_never_held_out(open_it, square):
    session = open_it()
    session.mend(0, square)
    session.accept(0)
    row = {
        "number": 1, "run": "r", "model": "nano", "is_used": True, "sentence": "", "seconds": 1.0,
        "trained_on": ["p0"], "held_out": ["p1"], "present": {"miou": 0.5, "ci95": None},
        "new": {"miou": 0.6, "ci95": [0.5, 0.7]}, "start": {"model": "nano"},
    }  # fmt: skip
    (session.out / "rounds.json").write_text(json.dumps([row]))
    session = open_it()
    with pytest.raises(UserError, match="trained on already"):
        session.hold_out(0, True)


def test_splits_of_a_data_set_stay(open_it, tmp_path, square):
    write_discs(tmp_path / "data", "train", 1)
    write_discs(tmp_path / "data", "val", 1)
    session = open_it(tmp_path / "data")
    for index in range(2):
        session.mend(index, square)
        session.accept(index)
    found = {work.image_id: work.side.is_held_out for work in session.works}
    assert found == {"train/0": False, "val/0": True}


def test_annotations_of_images_that_are_gone_are_kept(open_it, pictures, tmp_path, square):
    session = open_it()
    session.mend(0, square)
    session.accept(0, "cell")
    (pictures / "p0.png").unlink()
    again = open_it()
    again.mend(0, square)
    again.accept(0, "cell")
    content = json.loads((tmp_path / "kept" / "train.json").read_text())
    content["images"] += json.loads((tmp_path / "kept" / "val.json").read_text())["images"]
    assert sorted(each["sample_id"] for each in content["images"]) == ["p0", "p1"]


def test_a_folder_of_something_else_is_refused(open_it, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "train.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(UserError, match="not written by samtune open"):
        open_it()


def test_a_damaged_session_file_says_what_to_do(open_it, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "session.json").write_text('{"prompts": {"p0": {"clicks": [["a"]]}}}')
    with pytest.raises(UserError, match="delete it to begin without it"):
        open_it()


@pytest.mark.parametrize(("x", "y"), [(-5, 3), (3, 500), (float("nan"), 3), (float("inf"), 3)])
def test_clicks_outside_are_refused(open_it, x, y):
    with pytest.raises(UserError, match="lies outside"):
        open_it().click(0, x, y)


def test_nothing_can_be_accepted_without_a_mask(open_it):
    session = open_it()
    with pytest.raises(UserError, match="nothing to accept"):
        session.accept(0)
    session.click(0, 40, 30)
    with pytest.raises(UserError, match="no candidate 9"):
        session.accept(0, candidate=8)
    with pytest.raises(UserError, match="there is no image 7"):
        session.click(7, 1, 1)
    with pytest.raises(UserError, match="characters that can be read"):
        session.accept(0, "a\x00b")


@pytest.fixture
def prelabels(tmp_path, square):
    """What `samtune prelabel` may have written of p2 and p0: the first is not sure."""
    images = [
        {"id": n, "file_name": f"p{n}.png", "height": 90, "width": 120} for n in (0, 2)
    ]  # fmt: skip
    scores = {1: 0.9, 2: 0.4}
    content = {
        "images": images, "categories": [{"id": 7, "name": "cell"}],
        "annotations": [
            {"id": n, "image_id": 2, "category_id": 7, "segmentation": square.to_rle((90, 120)),
             "score": score} for n, score in scores.items()
        ],
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(content))
    row = "1,p2.png,2,cell,review,0.300000,0.4,,,,,24,"
    head = (
        "rank,image,object,category,decision,trust,score,detection_score,agreement,box_fill,box_iou"
    )
    (tmp_path / "review.csv").write_text(f"{head},area,reasons\n{row}\n")
    return Prelabels(tmp_path / "coco.json")


def test_the_queue_begins_where_the_model_is_in_doubt(open_it, prelabels):
    session = open_it(prelabels=prelabels)
    assert session.queue.order() == [2, 0, 1]
    assert session.current == 2
    while session.work_ahead():
        pass
    doubts = [work.doubt for work in session.works]
    assert all(0 <= doubt <= 1 for doubt in doubts)
    rest = session.queue.order()[1:]
    assert doubts[rest[0]] >= doubts[rest[1]]
    session.set_status(2, "done")
    assert session.queue.open_from(rest[0]) == rest
    assert session.queue.progress() == {"untouched": 2, "in work": 0, "done": 1}


def test_what_was_labelled_before_is_accepted_or_rejected_once(open_it, prelabels, square):
    session = open_it(prelabels=prelabels)
    session.look_at(2)
    assert [(each.number, each.score) for each in session.state(2).suggested] == [
        (1, 0.4),
        (2, 0.9),
    ]
    assert session.kept.classes == ["object", "cell"]
    session.take(2, [2])
    (kept,) = session.state(2).objects
    assert (kept.number, kept.name, kept.by, kept.score) == (1, "cell", "tuned", 0.9)
    assert np.array_equal(session.masks_of(2)[1], square.whole((90, 120)))
    again = open_it(prelabels=prelabels)
    again.look_at(2)
    assert [each.score for each in again.state(2).suggested] == [0.4]
    again.drop(2, [1])
    last = open_it(prelabels=prelabels)
    last.look_at(2)
    assert last.state(2).suggested == ()
    assert len(last.state(2).objects) == 1


def test_a_file_that_is_no_coco_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(UserError, match="no COCO file of samtune prelabel"):
        Prelabels(tmp_path / "a.json")


def test_everything_is_found_but_what_is_known(open_it, tuned):
    from samtune.models.mask_thresholds import FittedThresholds, MaskThresholds

    tuned.thresholds = FittedThresholds(MaskThresholds(0.0, 0.0, 0.7), 4)
    try:
        session = open_it()
        session.find_everything(0, "cell")
        found = session.state(0).suggested
        assert [each.number for each in found] == list(range(1, len(found) + 1))
        assert sorted(each.score for each in found) == [each.score for each in found]
        session.take(0, [1])
        known = session.state(0).objects[0].mask
        session.find_everything(0)
        again = session.state(0).suggested
        assert len(again) < len(found)
        assert all(placed_iou(each.mask, known) < 0.5 for each in again)
    finally:
        tuned.thresholds = None


def test_the_images_after_the_present_one_are_encoded_ahead(open_it):
    session = open_it()
    assert session.work_ahead()
    asked = []
    encode = session.answering.sam.encode_from
    session.answering.sam.encode_from = lambda *a: asked.append(1) or encode(*a)
    try:
        session.click(0, 40, 30)
        session.answer(0, is_quick=True)
        assert asked == []
    finally:
        del session.answering.sam.encode_from


def test_an_image_that_cannot_be_read_is_passed_over(open_it, pictures):
    (pictures / "p1.png").write_bytes(b"no picture")
    session = open_it()
    while session.work_ahead():
        pass
    assert [work.doubt is None for work in session.works] == [False, True, False]
    with pytest.raises(UserError, match="no image that can be read"):
        session.picture(1)


def test_a_base_model_has_no_other_to_be_compared_with(tuned, pictures, tmp_path):
    from samtune.models.loading import load_model

    sam = load_model("nano")
    session = Session(sam, False, open_images([pictures], sam.reading), tmp_path / "base")
    session.click(0, 40, 30)
    answers = session.answer(0)
    assert list(answers.offers) == ["base"]
    assert answers.agreement is None
    session.accept(0)
    assert session.state(0).objects[0].by == "base"
    assert not session.answering.can_be_scaled
    session.click(0, 10, 10)
    with pytest.raises(UserError, match="no strengths"):
        session.answer(0, strength=0.5)


def test_what_takes_long_waits_until_nobody_has_asked_for_a_while(open_it):
    session = open_it()
    before = session.seconds_idle
    while session.work_ahead(with_doubts=False):
        pass
    # what is made ahead is nobody's question
    between = session.seconds_idle
    assert between > before
    session.click(0, 40, 30)
    session.answer(0)
    assert session.seconds_idle < between
    assert {work.doubt for work in session.works} == {None}


def test_questions_go_before_what_is_made_ahead():
    turns, order = Turns(), []
    began, waiting = threading.Event(), threading.Barrier(3)

    def take(is_urgent, name):
        waiting.wait()
        with turns.taken(is_urgent):
            order.append(name)

    with turns.taken(is_urgent=True):
        began.set()
        threads = [
            threading.Thread(target=take, args=(False, "ahead")),
            threading.Thread(target=take, args=(True, "asked")),
        ]
        for each in threads:
            each.start()
        waiting.wait()
        while turns._num_urgent == 0:
            pass
    for each in threads:
        each.join()
    assert order == ["asked", "ahead"]


def test_what_cannot_be_written_does_not_happen(open_it, square, monkeypatch):
    session = open_it()
    session.mend(0, square)
    before = session.works[0].history.number

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session.kept.annotations, "write", full)
    with pytest.raises(UserError, match=r"nothing was changed.*No space left"):
        session.accept(0)
    assert session.state(0).objects == ()
    assert session.works[0].history.number == before
    monkeypatch.undo()
    session.accept(0)
    assert list(open_it().masks_of(0)) == [1]


@pytest.mark.parametrize(
    ("value", "stretch", "is_told"), [(12, "none", True), (90, "none", False), (12, "auto", False)]
)
def test_that_images_are_dark_is_told_where_a_base_sees_them_so(tmp_path, value, stretch, is_told):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((40, 50, 3), value + number, np.uint8)).save(
            folder / f"{number}.png"
        )
    opened = samtune.open("nano", folder, reading={"stretch": stretch})
    notes = tell_session(opened.session, None)["notes"]
    assert [note.startswith("the images are dark (13 of 255)") for note in notes] == [
        True
    ] * is_told


def test_images_that_a_run_was_trained_on_are_told(lora_run, discs, tmp_path):
    trained = sorted((discs / "train" / "images").glob("*.png"))
    elsewhere = tmp_path / "elsewhere.png"
    shutil.copy(trained[0], elsewhere)
    for images, told in (
        ([*trained[:2], elsewhere], "the run was trained or validated on 2 images of 3"),
        ([elsewhere], ""),
    ):
        opened = samtune.open(lora_run, images, out=tmp_path / f"out{len(images)}")
        notes = [
            each for each in tell_session(opened.session, None)["notes"] if "validated on" in each
        ]
        assert [each.startswith(told) for each in notes] == [True] * bool(told)


def test_prelabels_of_other_images_are_refused(open_it, prelabels, tmp_path):
    content = json.loads((tmp_path / "coco.json").read_text())
    for number, image in enumerate(content["images"]):
        image["file_name"] = f"elsewhere_{number}.png"
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="about none of these images: it names elsewhere_0"):
        open_it(prelabels=Prelabels(tmp_path / "other.json"))
