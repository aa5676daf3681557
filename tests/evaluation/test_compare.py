"""Base against tuned: the same prompts for both, paired by object, at the original resolution."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.source import Subset
from samtune.errors import UserError
from samtune.evaluation.comparing import asked_of
from samtune.evaluation.comparing import compare as compare_whole
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.settings import EvaluationSettings
from samtune.geometry import logits_to_original, scale_xy
from samtune.inference import views
from samtune.inference.predictor import SamPredictor
from samtune.models.backend import Sam
from samtune.models.encoder_steps import frozen_depth
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.prompts.protocols import PROTOCOLS, find_protocols
from samtune.types import ObjectKey

BOX = EvaluationSettings(tuple(find_protocols(["box"])))
BOX_AND_JITTER = EvaluationSettings(tuple(find_protocols(["box", "box_jitter"])))
CLICKS = EvaluationSettings(tuple(find_protocols(["clicks_5"])))
KEYS = [
    ObjectKey("a", 1),
    ObjectKey("a", 2),
    ObjectKey("a", 3),
    ObjectKey("b", 1),
    ObjectKey("b", 2),
    ObjectKey("c", 1),
]
AREAS = [15 * 20, 10 * 40, 6 * 15, 30 * 40, 18 * 18, 4 * 20]


def compare(*arguments):
    return compare_whole(*arguments).rows


@pytest.fixture(scope="module")
def plain(make_sam):
    """A base; no test may change it."""
    return make_sam()


@pytest.fixture(scope="module")
def untrained(make_sam):
    """The same base with an adapter that was never trained."""
    sam = make_sam()
    prepare_for_training(sam, "lora", LoraSettings(rank=2), "full")
    return sam.eval()


@pytest.fixture(scope="module")
def trained(make_sam):
    """The same base with an adapter that answers differently."""
    sam = make_sam()
    prepare_for_training(sam, "lora", LoraSettings(rank=2), "full")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in sam.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return sam.eval()


@pytest.fixture(scope="module")
def tuned_rows(trained, source):
    return compare(Contestants(trained, is_tuned=True), source, BOX_AND_JITTER)


@pytest.fixture
def decoded(monkeypatch):
    """Every call of the decoder: its prompts, its answer, and whether the adapter was on."""
    calls, decode = [], Sam.decode

    def watch(sam, embeddings, image_index, prompts, multimask_output, *more):
        answer = decode(sam, embeddings, image_index, prompts, multimask_output, *more)
        qkv = sam.core.vision_encoder.layers[0].attn.qkv
        is_tuned = not getattr(qkv, "disable_adapters", True)
        calls.append((is_tuned, prompts, multimask_output, answer))
        return answer

    monkeypatch.setattr(Sam, "decode", watch)
    return calls


def scores_of(rows):
    return {(r.protocol, r.key, name): s for r in rows for name, s in r.scores.items()}


def assert_close(rows, expected):
    ours, theirs = scores_of(rows), scores_of(expected)
    assert ours.keys() == theirs.keys()
    for key, score in ours.items():
        assert score.iou == pytest.approx(theirs[key].iou, abs=1e-2)
        assert score.predicted_iou == pytest.approx(theirs[key].predicted_iou, abs=1e-5)


def test_several_processes_measure_the_same(trained, source, tuned_rows):
    seen = []
    settings = replace(BOX_AND_JITTER, num_processes=2)
    contestants = Contestants(trained, is_tuned=True)
    found = compare_whole(contestants, source, settings, seen.append)
    assert found.rows == tuned_rows
    assert [answer.row for answer in seen] == tuned_rows
    assert all(answer.sample.image.ndim == 3 for answer in seen)


@pytest.mark.parametrize("num_processes", [0, 2])
def test_when_time_is_over_the_first_images_are_asked_all_the_same(trained, source, num_processes):
    settings, contestants = replace(BOX, num_processes=num_processes), Contestants(trained, True)
    asked = asked_of(contestants, source, settings, until=0.0, least=2)
    assert [each.number for each in asked] == [0, 1]


class TestRows:
    def test_there_is_one_for_each_object_and_protocol_image_by_image(self, tuned_rows):
        keys = [
            (name, key)
            for image in "abc"
            for name in ("box", "box_jitter")
            for key in KEYS
            if key.image_id == image
        ]
        assert [(row.protocol, row.key) for row in tuned_rows] == keys

    def test_areas_are_counted_in_the_original_image(self, plain, source):
        rows = compare(Contestants(plain, is_tuned=False), source, BOX)
        assert [row.area for row in rows] == AREAS

    def test_a_base_alone_has_no_opponent(self, plain, source):
        rows = compare(Contestants(plain, is_tuned=False), source, BOX)
        assert {tuple(row.scores) for row in rows} == {("base",)}

    def test_small_objects_and_later_images_are_left_out_when_asked(self, plain, source):
        settings = replace(BOX, min_area=90, max_images=2)
        rows = compare(Contestants(plain, is_tuned=False), source, settings)
        assert [row.key for row in rows] == KEYS[:5]
        rows = compare(Contestants(plain, is_tuned=False), source, replace(settings, min_area=91))
        assert [row.key for row in rows] == [KEYS[i] for i in (0, 1, 3, 4)]

    def test_no_object_at_all_is_a_user_s_error(self, plain, source):
        with pytest.raises(UserError, match="no object to evaluate on"):
            compare(Contestants(plain, is_tuned=False), source, replace(BOX, min_area=10_000))

    def test_each_answer_is_shown_with_what_it_was_asked(self, plain, source):
        answers = []
        rows = compare(Contestants(plain, is_tuned=False), source, BOX, answers.append)
        assert [answer.row for answer in answers] == rows
        first = answers[0]
        assert first.sample.image.shape == (40, 60, 3)
        assert first.truth.sum() == first.truth[5:20, 5:25].sum() == 300
        np.testing.assert_array_equal(first.prompt.box_xyxy, [5, 5, 24, 19])
        mask = first.masks["base"]
        overlap, union = (mask & first.truth).sum(), (mask | first.truth).sum()
        assert first.row.scores["base"].iou == pytest.approx(overlap / union)


class TestFairness:
    def test_an_untrained_adapter_makes_no_difference_at_all(self, untrained, source):
        settings = EvaluationSettings(tuple(PROTOCOLS.values()))
        rows = compare(Contestants(untrained, is_tuned=True), source, settings)
        assert len(rows) == 6 * len(PROTOCOLS)
        assert all(row.scores["base"] == row.scores["tuned"] for row in rows)

    def test_a_trained_one_does(self, tuned_rows):
        assert all(row.scores["base"] != row.scores["tuned"] for row in tuned_rows)

    def test_both_get_the_same_prompts(self, trained, source, decoded):
        single = [p for p in PROTOCOLS.values() if not p.num_corrections]
        compare(Contestants(trained, is_tuned=True), source, EvaluationSettings(tuple(single)))
        base = [call for call in decoded if not call[0]]
        tuned = [call for call in decoded if call[0]]
        assert len(base) == len(tuned) >= 3 * len(single)
        for (_, ours, our_multimask, _), (_, theirs, their_multimask, _) in zip(
            base, tuned, strict=True
        ):
            assert our_multimask == their_multimask
            for name in ("point_coords", "point_labels", "boxes_xyxy", "mask_inputs"):
                first, second = getattr(ours, name), getattr(theirs, name)
                assert (first is None) == (second is None)
                assert first is None or torch.equal(first, second)

    def test_the_base_beside_an_adapter_scores_as_the_base_alone(self, plain, tuned_rows, source):
        alone = compare(Contestants(plain, is_tuned=False), source, BOX_AND_JITTER)
        for row, expected in zip(tuned_rows, alone, strict=True):
            assert row.scores["base"] == expected.scores["base"]

    def test_the_adapter_is_on_again_afterwards(self, trained, source, tuned_rows):
        again = compare(Contestants(trained, is_tuned=True), source, BOX_AND_JITTER)
        assert again == tuned_rows

    def test_after_training_everything_the_base_is_loaded_beside_it(self, source):
        sam = load_model("nano", image_size=64)
        prepare_for_training(sam, "full", LoraSettings())
        with torch.no_grad():
            sam.core.mask_decoder.iou_prediction_head.proj_out.bias.add_(0.25)
        rows = compare(Contestants(sam.eval(), is_tuned=True), source, BOX)
        for row in rows:
            base, tuned = row.scores["base"], row.scores["tuned"]
            assert tuned.iou == base.iou
            assert tuned.predicted_iou == pytest.approx(base.predicted_iou + 0.25, abs=1e-5)

    def test_a_foreign_adapter_that_changes_the_neck_shares_nothing_after_it(self, make_sam):
        from peft import LoraConfig, get_peft_model

        sam = make_sam()
        config = LoraConfig(
            target_modules=["iou_prediction_head.proj_in"], modules_to_save=["neck"]
        )
        sam.network = get_peft_model(sam.core, config).requires_grad_(False)
        assert frozen_depth(sam) == sam.depth - 1

    @pytest.mark.parametrize(
        ("settings", "counts"),
        [
            (LoraSettings(encoder="none"), [3] * 6),
            (LoraSettings(encoder="last", last_blocks=2), [3, 3, 3, 3, 6, 6]),
            (LoraSettings(), [6] * 6),
        ],
    )
    def test_blocks_that_the_adapter_leaves_alone_run_once_for_both(
        self, make_sam, source, settings, counts
    ):
        sam, calls = make_sam(), [0] * 6
        prepare_for_training(sam, "lora", settings, "lora")
        for number, block in enumerate(sam.family.blocks):
            block.register_forward_pre_hook(
                lambda *_, number=number: calls.__setitem__(number, calls[number] + 1)
            )
        compare(Contestants(sam.eval(), is_tuned=True), source, BOX)
        assert calls == counts


class TestIndependence:
    def test_an_image_alone_scores_as_among_others(self, trained, source, tuned_rows):
        rows = compare(Contestants(trained, is_tuned=True), Subset(source, [1]), BOX_AND_JITTER)
        assert rows == [row for row in tuned_rows if row.key.image_id == "b"]

    def test_the_order_of_protocols_changes_no_score(self, trained, source, tuned_rows):
        settings = replace(BOX_AND_JITTER, protocols=BOX_AND_JITTER.protocols[::-1])
        rows = compare(Contestants(trained, is_tuned=True), source, settings)
        assert scores_of(rows) == scores_of(tuned_rows)

    def test_objects_decoded_one_by_one_score_the_same(
        self, trained, source, tuned_rows, monkeypatch
    ):
        monkeypatch.setattr(Sam.decode, "__defaults__", (1,))
        assert_close(
            compare(Contestants(trained, is_tuned=True), source, BOX_AND_JITTER), tuned_rows
        )

    def test_masks_enlarged_one_by_one_score_the_same(
        self, trained, source, tuned_rows, monkeypatch
    ):
        monkeypatch.setattr(views, "_MASKS", 1)
        assert_close(
            compare(Contestants(trained, is_tuned=True), source, BOX_AND_JITTER), tuned_rows
        )

    def test_a_brief_look_finds_the_same_overlap(self, trained, source, tuned_rows):
        settings = replace(BOX_AND_JITTER, is_brief=True)
        rows = compare(Contestants(trained, is_tuned=True), source, settings)
        assert [row.key for row in rows] == [row.key for row in tuned_rows]
        for row, full in zip(rows, tuned_rows, strict=True):
            assert row.trivial == {}
            for name, score in row.scores.items():
                its = full.scores[name]
                assert (score.iou, score.dice, score.rle) == (its.iou, its.dice, its.rle)
                assert score.measures == {}
                assert score.oracle_iou == score.iou

    def test_processes_that_read_change_nothing(self, trained, source, tuned_rows):
        settings = replace(BOX_AND_JITTER, num_workers=1)
        assert compare(Contestants(trained, is_tuned=True), source, settings) == tuned_rows

    def test_the_seed_moves_random_prompts_and_no_others(self, plain, source):
        prompts = {}
        for seed in (0, 1):
            answers = []
            settings = replace(BOX_AND_JITTER, seed=seed)
            compare(Contestants(plain, is_tuned=False), source, settings, answers.append)
            prompts[seed] = [(a.row.protocol, a.prompt.box_xyxy.tolist()) for a in answers]
        for (name, first), (_, second) in zip(prompts[0], prompts[1], strict=True):
            assert (first == second) == (name == "box")


class TestAgainstThePredictor:
    """The predictor, asked the same, is measured the same."""

    @pytest.mark.parametrize("with_multimask", [True, False])
    def test_boxes(self, plain, source, with_multimask):
        answers, predictor = [], SamPredictor(plain, focus="auto")
        settings = replace(BOX, with_multimask=with_multimask)
        compare(Contestants(plain, is_tuned=False), source, settings, answers.append)
        for answer in answers:
            predictor.set_image(answer.sample.image)
            masks, scores, _ = predictor.predict(
                box=answer.prompt.box_xyxy, multimask_output=with_multimask
            )
            best = scores.argmax()
            assert answer.row.scores["base"].predicted_iou == pytest.approx(scores[best], abs=1e-5)
            assert (answer.masks["base"] != masks[best]).mean() < 1e-3


class TestCorrections:
    @pytest.fixture
    def dialogues(self, trained, source, decoded):
        """Calls of the decoder on image c, which has one object, base first."""
        compare(Contestants(trained, is_tuned=True), Subset(source, [2]), CLICKS)
        return {
            name: [call for call in decoded if call[0] == (name == "tuned")]
            for name in ("base", "tuned")
        }

    def test_a_click_is_added_in_each_of_four_rounds(self, dialogues):
        for calls in dialogues.values():
            assert [call[1].point_coords.shape for call in calls] == [
                (1, n, 2) for n in range(1, 6)
            ]
            assert [call[2] for call in calls] == [True, False, False, False, False]

    def test_both_start_with_the_same_click_and_keep_their_clicks(self, dialogues):
        first = [calls[0][1].point_coords for calls in dialogues.values()]
        assert torch.equal(*first)
        for calls in dialogues.values():
            for before, after in pairwise(calls):
                count = before[1].point_coords.shape[1]
                assert torch.equal(after[1].point_coords[:, :count], before[1].point_coords)

    def test_the_best_mask_of_each_round_prompts_the_next(self, dialogues):
        for calls in dialogues.values():
            assert calls[0][1].mask_inputs is None
            for before, after in pairwise(calls):
                answer = before[3]
                best = answer.low_res_logits[0, answer.iou_scores[0].argmax()]
                assert torch.equal(after[1].mask_inputs[0, 0], best)

    def test_each_is_corrected_where_it_was_wrong_itself(self, dialogues, trained, source):
        truth = source.read(2).labels[0] > 0
        clicks = {}
        for name, calls in dialogues.items():
            for before, after in pairwise(calls):
                answer = before[3]
                best = answer.low_res_logits[0, answer.iou_scores[0].argmax()]
                mask = logits_to_original(best[None, None], truth.shape, trained.frame)[0, 0]
                xy = scale_xy(after[1].point_coords[0, -1].numpy(), (64, 64), truth.shape)
                column, row = np.rint(xy).astype(int)
                assert after[1].point_labels[0, -1] == truth[row, column]
                assert (mask[row, column] > 0).item() != truth[row, column]
                clicks.setdefault(name, []).append((column, row))
        assert clicks["base"] != clicks["tuned"]

    def test_all_rounds_of_all_objects_are_repeatable(self, trained, source):
        rows = [compare(Contestants(trained, is_tuned=True), source, CLICKS) for _ in range(2)]
        assert rows[0] == rows[1]


class TestUnreadableImages:
    @pytest.fixture
    def damaged(self, pictures, tmp_path):
        for name in ("images", "labels"):
            (tmp_path / name).mkdir()
            for file in (pictures / name).iterdir():
                (tmp_path / name / file.name).write_bytes(file.read_bytes())
        (tmp_path / "images" / "b.png").write_bytes(b"no picture")
        return MaskFolder(tmp_path)

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_they_stop_the_evaluation_by_default_with_advice(self, plain, damaged, num_workers):
        settings = replace(BOX, num_workers=num_workers)
        with pytest.raises(UserError, match=r"b\.png .*on_error: skip"):
            compare(Contestants(plain, is_tuned=False), damaged, settings)

    def test_they_are_left_out_when_asked(self, plain, damaged, caplog):
        rows = compare(Contestants(plain, is_tuned=False), damaged, replace(BOX, on_error="skip"))
        assert [row.key for row in rows] == [*KEYS[:3], KEYS[5]]
        assert "b.png" in caplog.text

    def test_nothing_readable_is_a_user_s_error(self, plain, damaged):
        settings = replace(BOX, on_error="skip")
        with pytest.raises(UserError, match="no object to evaluate on"):
            compare(Contestants(plain, is_tuned=False), Subset(damaged, [1]), settings)
