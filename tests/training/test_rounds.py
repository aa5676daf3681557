"""The simulated dialogue: how many rounds, what prompts each, and what never changes a loss."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.prompts.protocols import RECIPES
from samtune.training.losses import LossWeights
from samtune.training.rounds import next_prompts, plan_rounds, run_rounds
from samtune.training.settings import LossSettings
from samtune.types import Features

# the default with one round of corrections
CORRECTED = replace(RECIPES["mixed"], num_corrections=1)
PARTS = ("total", "pixel", "dice", "iou", "ious", "best")


@pytest.fixture(scope="module")
def embeddings(sam, batch):
    with torch.no_grad():
        return sam.encode(batch.pixel_values)


@pytest.fixture(scope="module")
def run(sam, batch, embeddings):
    """A function that runs the rounds of a recipe, by default on the whole batch."""

    def rounds(recipe=CORRECTED, part=batch, objects_per_chunk=32):
        recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
        weights = LossWeights.from_settings(LossSettings(), recipe)
        return run_rounds(sam, embeddings, part, recipe, weights, objects_per_chunk)

    return rounds


@pytest.fixture
def decoded(monkeypatch):
    """Prompts, multimask and answer of each call of the decoder."""
    calls, decode = [], Sam.decode

    def watch(sam, embeddings, image_index, prompts, multimask_output, *more):
        answer = decode(sam, embeddings, image_index, prompts, multimask_output, *more)
        calls.append((prompts, multimask_output, answer))
        return answer

    monkeypatch.setattr(Sam, "decode", watch)
    return calls


def assert_same_losses(found, expected, order):
    """Each object's losses, `found` holding them in another order."""
    for ours, theirs in zip(found, expected, strict=True):
        for name in PARTS:
            first, second = getattr(ours.parts, name), getattr(theirs.parts, name)[order]
            assert torch.allclose(first, second, atol=1e-4), name


def cell_of(prompt, sam, side):
    """Column and row on the targets' grid of a prompt's last click."""
    scale = sam.image_size / side
    return tuple(np.rint((prompt.point_coords[-1] + 0.5) / scale - 0.5).astype(int).tolist())


class TestPlan:
    @pytest.mark.parametrize(
        ("recipe", "count"),
        [
            ("sam", 11),
            ("sam2", 8),
            ("medsam", 1),
            ("micro_sam", 8),
            ("samed", 1),
            ("boxes", 1),
            ("mixed", 1),
            ("points", 3),
        ],
    )
    def test_the_number_of_rounds_is_the_recipe_s(self, run, recipe, count):
        with torch.no_grad():
            assert len(run(recipe)) == count

    def test_sam_clicks_eight_times_and_ends_without_a_click(self):
        for seed in range(20):
            plan = plan_rounds(RECIPES["sam"], (seed, 0))
            assert len(plan) == 10
            assert sum(plan) == 8
            assert plan[-1] is False

    def test_sam_s_other_refinement_falls_anywhere_among_the_clicks(self):
        places = {plan_rounds(RECIPES["sam"], (seed, 0)).index(False) for seed in range(200)}
        assert places == set(range(8))

    def test_the_same_seed_gives_the_same_plan(self):
        assert plan_rounds(RECIPES["sam"], (3, 4)) == plan_rounds(RECIPES["sam"], (3, 4))

    def test_a_single_refinement_comes_last(self):
        recipe = replace(RECIPES["sam"], num_corrections=2, num_refinements=1)
        assert plan_rounds(recipe, (0, 0)) == [True, True, False]

    def test_refinements_need_no_clicks(self):
        recipe = replace(RECIPES["sam"], num_corrections=0, num_refinements=2)
        assert plan_rounds(recipe, (0, 0)) == [False, False]


class TestPrompts:
    @pytest.fixture
    def dialogue(self, run, batch, choose, decoded):
        """The calls of SAM's eleven rounds for one object that starts with a point."""
        with torch.no_grad():
            run("sam", choose(batch, [0]))
        return decoded

    def test_each_round_but_two_adds_a_click_and_keeps_the_others(self, dialogue, batch):
        counts = [prompts.point_coords.shape[1] for prompts, *_ in dialogue]
        plan = plan_rounds(RECIPES["sam"], batch.seed)
        assert counts == np.cumsum([1, *plan]).tolist()
        for before, after in pairwise(dialogue):
            kept = before[0].point_coords.shape[1]
            assert torch.equal(after[0].point_coords[:, :kept], before[0].point_coords)

    def test_three_masks_answer_the_single_point_and_one_all_others(self, dialogue):
        assert [multimask for _, multimask, _ in dialogue] == [True] + [False] * 10

    def test_the_first_round_has_no_mask_prompt_and_the_others_the_mask_before(self, dialogue):
        assert dialogue[0][0].mask_inputs is None
        for before, after in list(pairwise(dialogue))[1:]:
            assert torch.equal(after[0].mask_inputs, before[2].low_res_logits)

    def test_of_three_masks_the_one_with_the_highest_predicted_iou_is_passed_on(
        self, run, batch, decoded
    ):
        """SAM, arXiv 2304.02643, appendix A."""
        with torch.no_grad():
            results = run()
        logits = torch.zeros(4, 16, 16)
        for indices, (_, _, answer) in zip(([0, 3], [1], [2]), decoded, strict=False):
            rows = torch.arange(len(indices))
            logits[indices] = answer.low_res_logits[rows, answer.iou_scores.argmax(dim=1)]
        assert torch.equal(results[0].logits, logits)

    def test_no_gradient_flows_through_the_mask_prompt(self, sam, batch, decoded):
        weights = LossWeights.from_settings(LossSettings(), CORRECTED)
        embeddings = Features(sam.encode(batch.pixel_values).main.detach().requires_grad_())
        results = run_rounds(sam, embeddings, batch, CORRECTED, weights, 32)
        assert all(result.parts.total.requires_grad for result in results)
        assert not any(result.logits.requires_grad for result in results)
        masks = [p.mask_inputs for p, *_ in decoded if p.mask_inputs is not None]
        assert masks
        assert not any(mask.requires_grad for mask in masks)

    def test_a_recipe_without_multimask_is_answered_by_one_mask(self, run, decoded):
        with torch.no_grad():
            run("boxes")
        assert [multimask for _, multimask, _ in decoded] == [False] * 3

    def test_first_prompts_are_left_as_they_were(self, run, batch):
        counts = [prompt.num_points for prompt in batch.prompts["first"]]
        with torch.no_grad():
            run()
        assert [prompt.num_points for prompt in batch.prompts["first"]] == counts
        assert all(prompt.mask_input is None for prompt in batch.prompts["first"])


@pytest.fixture(scope="module")
def logits():
    """One mask each: too small, too large, empty, and all of the padded square."""
    masks = torch.full((4, 16, 16), -1.0)
    masks[0, 2:5, 3:6] = 1
    masks[1, 1:8, 1:15] = 1
    masks[3] = 1
    return masks


class TestClicks:
    def clicks(self, sam, batch, logits, recipe="sam", number=1):
        recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
        first = batch.prompts["first"]
        return next_prompts(first, logits, batch, recipe, number, True, sam)

    def test_they_fall_on_errors_inside_the_image_with_the_truth_s_label(self, sam, batch, logits):
        full = F.interpolate(logits[:, None], (32, 32), mode="bilinear")[:, 0] > 0
        for number in range(1, 30):
            for index, prompt in enumerate(self.clicks(sam, batch, logits, number=number)):
                column, row = cell_of(prompt, sam, 32)
                truth = bool(batch.targets[index, row, column] > 127)
                assert prompt.point_labels[-1] == truth
                assert bool(full[index, row, column]) != truth
                assert batch.valid[batch.image_index[index], row, column]

    def test_a_click_is_the_centre_of_its_cell(self, sam, batch, logits):
        for prompt in self.clicks(sam, batch, logits):
            x, y = prompt.point_coords[-1]
            assert ((x + 0.5) / 2 - 0.5).is_integer()
            assert ((y + 0.5) / 2 - 0.5).is_integer()

    def test_they_move_from_round_to_round_and_from_seed_to_seed(self, sam, batch, logits):
        def places(batch, number):
            return [cell_of(p, sam, 32) for p in self.clicks(sam, batch, logits, number=number)]

        assert places(batch, 1) == places(batch, 1)
        assert places(batch, 1) != places(batch, 2)
        assert places(batch, 1) != places(replace(batch, seed=(0, 1)), 1)

    def test_alike_objects_are_clicked_in_places_of_their_own(self, sam, batch, logits, choose):
        alike = replace(
            choose(batch, [0, 0, 0]),
            keys=[batch.keys[0], batch.keys[1], batch.keys[2]],  # a 1, b 1 and a 2
        )
        prompts = self.clicks(sam, alike, logits[[2, 2, 2]])
        assert len({cell_of(prompt, sam, 32) for prompt in prompts}) == 3

    def test_without_a_click_only_the_mask_prompt_is_new(self, sam, batch, logits):
        first = batch.prompts["first"]
        prompts = next_prompts(first, logits, batch, RECIPES["sam"], 1, False, sam)
        for prompt, before, mask in zip(prompts, first, logits, strict=True):
            assert prompt.num_points == before.num_points
            np.testing.assert_array_equal(prompt.mask_input, mask.numpy())

    def test_clicks_from_the_truth_lie_in_the_object(self, sam, batch, logits):
        recipe = replace(RECIPES["sam2"], correction_from_truth=1.0)
        for number in range(1, 10):
            for index, prompt in enumerate(self.clicks(sam, batch, logits, recipe, number)):
                column, row = cell_of(prompt, sam, 32)
                assert prompt.point_labels[-1] == 1
                assert batch.targets[index, row, column] == 255

    def test_micro_sam_s_corrections_are_pairs_and_hand_on_half_of_the_masks(
        self, sam, batch, logits
    ):
        before = [prompt.num_points for prompt in batch.prompts["first"]]
        kept = []
        for number in range(1, 40):
            prompts = self.clicks(sam, batch, logits, "micro_sam", number)
            assert [prompt.num_points for prompt in prompts] == [count + 2 for count in before]
            assert all(prompt.point_labels[-2:].tolist() == [1, 0] for prompt in prompts)
            kept += [prompt.mask_input is not None for prompt in prompts]
        assert 0.35 < np.mean(kept) < 0.65


class TestIndependence:
    @pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 0, 3, 1]])
    def test_the_order_of_objects_changes_no_object_s_losses(self, run, batch, choose, order):
        with torch.no_grad():
            assert_same_losses(run(CORRECTED, choose(batch, order)), run(), order)

    @pytest.mark.parametrize("index", range(4))
    def test_an_object_alone_has_the_losses_that_it_has_among_others(
        self, run, batch, choose, index
    ):
        with torch.no_grad():
            assert_same_losses(run(CORRECTED, choose(batch, [index])), run(), [index])

    def test_the_chunk_size_changes_no_loss(self, run):
        with torch.no_grad():
            assert_same_losses(run(objects_per_chunk=1), run(), [0, 1, 2, 3])

    def test_objects_of_an_image_do_not_depend_on_its_place_in_the_batch(
        self, sam, batch, run, embeddings
    ):
        turned = replace(
            batch,
            pixel_values=batch.pixel_values.flip(0),
            valid=batch.valid.flip(0),
            image_index=1 - batch.image_index,
        )
        recipe = CORRECTED
        weights = LossWeights.from_settings(LossSettings(), recipe)
        with torch.no_grad():
            found = run_rounds(sam, embeddings[torch.tensor([1, 0])], turned, recipe, weights, 32)
            assert_same_losses(found, run(), [0, 1, 2, 3])

    def test_results_are_repeatable(self, run):
        with torch.no_grad():
            first, second = run(), run()
        assert_same_losses(first, second, [0, 1, 2, 3])


def test_gradients_of_all_rounds_reach_the_encoder_s_lora(batch):
    sam = load_model("nano", image_size=64)
    prepare_for_training(sam, "lora", LoraSettings(rank=2, encoder="last", last_blocks=1), "frozen")
    recipe = CORRECTED
    weights = LossWeights.from_settings(LossSettings(), recipe)
    results = run_rounds(sam, sam.encode(batch.pixel_values), batch, recipe, weights, 32)
    matrix = sam.core.vision_encoder.layers[5].attn.qkv.lora_B["default"].weight
    for result in results:
        (gradient,) = torch.autograd.grad(result.parts.total.mean(), matrix, retain_graph=True)
        assert gradient.abs().max() > 0
