import numpy as np
import pytest

from samtune.errors import UserError
from samtune.prompts.protocols import (
    EVALUATION_PROTOCOLS,
    PROTOCOLS,
    RECIPES,
    find_protocols,
    trained_parts,
)
from samtune.types import InputFrame
from tests.prompts.conftest import MASKS

GRID = InputFrame(64).grid(64)

# name -> points in the object, points beside it, with a box, with a mask
PARTS = {
    "box": (0, 0, True, False),
    "box_jitter": (0, 0, True, False),
    "box_gaussian": (0, 0, True, False),
    "box_outward": (0, 0, True, False),
    "box_margin": (0, 0, True, False),
    "point": (1, 0, False, False),
    "point_uniform": (1, 0, False, False),
    "points_uniform": (3, 0, False, False),
    "points_mixed": (2, 1, False, False),
    "box_point": (1, 0, True, False),
    "mask_coarse": (0, 0, False, True),
    "mask_noised": (0, 0, False, True),
}
protocols = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
recipes = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def test_every_protocol_is_described_here():
    assert PARTS.keys() == PROTOCOLS.keys()
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())


@protocols
def test_a_prompt_has_the_parts_of_its_protocol_in_their_places_for_every_mask(protocol, rng):
    num_inside, num_outside, with_box, with_mask = PARTS[protocol.name]
    for name, mask in MASKS.items():
        outside = 0 if mask.all() else num_outside
        prompt = protocol.draw(mask.copy(), rng, GRID)
        assert prompt.signature == (num_inside + outside, with_box, with_mask), name
        labels = [] if prompt.point_labels is None else prompt.point_labels.tolist()
        assert labels == [1] * num_inside + [0] * outside, name
        if prompt.num_points:
            columns, rows = prompt.point_coords.astype(int).T
            assert mask[rows, columns].tolist() == (prompt.point_labels == 1).tolist(), name


@protocols
def test_the_same_generator_draws_the_same_prompt_of_every_mask(protocol):
    for mask in MASKS.values():
        first, second = (protocol.draw(mask, np.random.default_rng(4), GRID) for _ in range(2))
        np.testing.assert_equal(vars(first), vars(second))


def test_an_empty_mask_cannot_be_prompted(rng):
    for protocol in PROTOCOLS.values():
        with pytest.raises(ValueError, match="the mask is empty"):
            protocol.draw(np.zeros((9, 9), bool), rng, GRID)


def test_box_and_point_of_the_evaluation_are_exact(rng):
    mask = np.zeros((40, 60), bool)
    mask[10:21, 20:41] = True
    assert PROTOCOLS["box"].draw(mask, rng, GRID).box_xyxy.tolist() == [20, 10, 40, 20]
    assert PROTOCOLS["point"].draw(mask, rng, GRID).point_coords.tolist() == [[25, 15]]


def test_boxes_with_a_margin_grow_by_at_most_a_fortieth_of_the_side(rng):
    mask = np.zeros((1024, 1024), bool)
    mask[400:800, 300:500] = True
    exact = np.array([300, 400, 499, 799])
    moves = [PROTOCOLS["box_margin"].draw(mask, rng, GRID).box_xyxy - exact for _ in range(200)]
    assert np.min(moves, axis=0) == pytest.approx([-5, -10, 0, 0], abs=0.3)
    assert np.max(moves, axis=0) == pytest.approx([0, 0, 5, 10], abs=0.3)


def test_jittered_boxes_move_by_at_most_a_tenth_of_the_side(rng):
    mask = np.zeros((1024, 1024), bool)
    mask[500:600, 300:350] = True
    exact = np.array([300, 500, 349, 599])
    moves = [PROTOCOLS["box_jitter"].draw(mask, rng, GRID).box_xyxy - exact for _ in range(200)]
    assert np.abs(moves).max(axis=0) == pytest.approx([5, 10, 5, 10], rel=0.05)
    assert (np.abs(moves).max(axis=0) <= [5.001, 10.001, 5.001, 10.001]).all()


def test_five_clicks_are_one_point_and_four_corrections():
    (clicks,) = find_protocols(["clicks_5"])
    assert (clicks.num_positive, clicks.num_corrections, clicks.placing) == (1, 4, "centre")
    assert all(p.num_corrections == 0 for p in PROTOCOLS.values())


def test_the_evaluation_prompts_with_boxes_points_and_clicks():
    assert EVALUATION_PROTOCOLS == ("box", "box_jitter", "point", "points_3", "clicks_5")
    assert [each.name for each in find_protocols(EVALUATION_PROTOCOLS)] == [*EVALUATION_PROTOCOLS]


def test_sam_has_the_numbers_of_its_paper():
    sam = RECIPES["sam"]
    assert sam.first == {"point_uniform": 0.5, "box_gaussian": 0.5}
    assert (sam.num_corrections, sam.num_refinements) == (8, 2)
    assert 1 + sam.num_corrections + sam.num_refinements == 11
    assert sam.correction_from_truth == 0
    assert (sam.pixel_loss, sam.pixel, sam.dice) == ("focal", 20, 1)
    assert (sam.iou_loss, sam.iou) == ("mse", 1)
    assert (sam.max_objects, sam.max_cover, sam.with_multimask) == (64, 0.9, True)


def test_sam2_has_the_numbers_of_its_paper():
    sam2 = RECIPES["sam2"]
    assert sam2.first == {"point_uniform": 0.5, "box_jitter": 0.5}
    assert (sam2.num_corrections, sam2.num_refinements) == (7, 0)
    assert sam2.correction_from_truth == 0.1
    assert (sam2.pixel_loss, sam2.pixel, sam2.dice) == ("focal", 20, 1)
    assert (sam2.iou_loss, sam2.iou, sam2.is_iou_of_all) == ("l1", 1, True)
    assert sam2.with_multimask


def test_medsam_has_the_numbers_of_its_paper():
    medsam = RECIPES["medsam"]
    assert medsam.first == {"box_outward": 1}
    assert (medsam.num_corrections, medsam.num_refinements, medsam.max_objects) == (0, 0, 1)
    assert (medsam.pixel_loss, medsam.pixel, medsam.dice) == ("bce", 1, 1)
    assert not medsam.with_multimask


@recipes
def test_a_recipe_draws_from_known_protocols_with_shares_that_sum_to_one(recipe):
    assert recipe.first.keys() <= PROTOCOLS.keys()
    assert sum(recipe.first.values()) == pytest.approx(1)
    assert min(recipe.first.values()) > 0


@recipes
def test_first_prompts_are_drawn_by_their_shares(recipe, rng):
    drawn = [recipe.draw_protocol(rng).name for _ in range(2000)]
    for name, share in recipe.first.items():
        assert drawn.count(name) / 2000 == pytest.approx(share, abs=0.05)


def test_the_mixed_recipe_knows_points_boxes_and_masks():
    parts = [PARTS[name] for name in RECIPES["mixed"].first]
    assert any(part[0] for part in parts)
    assert any(part[1] for part in parts)
    assert any(part[2] for part in parts)
    assert any(part[3] for part in parts)


@pytest.mark.parametrize(("recipe", "with_box"), [("points", False), ("boxes", True)])
def test_the_recipes_of_one_kind_keep_to_it(recipe, with_box):
    assert {PARTS[name][2] for name in RECIPES[recipe].first} == {with_box}


def test_protocols_are_found_in_the_order_of_their_names():
    assert [p.name for p in find_protocols(["point", "box"])] == ["point", "box"]


def test_an_unknown_protocol_is_named_with_the_choices():
    with pytest.raises(UserError, match=r"unknown protocol 'pont': choose from box, box_jitter"):
        find_protocols(["box", "pont"])


class TestNumbered:
    @pytest.fixture
    def square(self):
        mask = np.zeros((100, 120), np.bool_)
        mask[40:60, 30:70] = True
        return mask

    def test_points_and_clicks(self, square, rng):
        points, clicks, box_clicks = find_protocols(["points_7", "clicks_10", "box_clicks_2"])
        assert points.draw(square, rng, GRID).num_points == 7
        assert (clicks.draw(square, rng, GRID).num_points, clicks.num_corrections) == (1, 9)
        assert box_clicks.draw(square, rng, GRID).signature == (0, True, False)
        assert (box_clicks.num_corrections, box_clicks.placing) == (2, "centre")

    def test_boxes_are_moved_by_their_own_share_without_a_limit(self, square, rng):
        (jitter,) = find_protocols(["box_jitter_20"])
        moves = [jitter.draw(square, rng, GRID).box_xyxy - [30, 40, 69, 59] for _ in range(300)]
        assert np.abs(moves).max(0) == pytest.approx([8, 4, 8, 4], rel=0.05)

    def test_boxes_grow_by_pixels_and_stay_inside(self, square, rng):
        (grown, far) = find_protocols(["box_outward_5", "box_outward_50"])
        assert grown.draw(square, rng, GRID).box_xyxy.tolist() == [25, 35, 74, 64]
        assert far.draw(square, rng, GRID).box_xyxy.tolist() == [0, 0, 119, 99]

    def test_groups_stand_for_their_members_each_once(self):
        names = [p.name for p in find_protocols(["box", "robustness", "interactive", "point"])]
        assert names == [
            "box", "box_jitter_5", "box_jitter_10", "box_jitter_20", "box_outward_5",
            "box_outward_20", "clicks_10", "point",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "name",
        ["points_0", "points_", "clicks_101", "box_jitter_-5", "points_3x", "point_3", "own"],
    )
    def test_other_names_are_a_user_s_error(self, name):
        with pytest.raises(UserError, match="unknown protocol"):
            find_protocols([name])

    def test_those_that_another_seed_changes_are_known(self, square):
        names = ["box", "point", "box_outward_5", "clicks_5", "mask_coarse"]
        assert not any(protocol.is_random for protocol in find_protocols(names))
        names = ["box_jitter", "box_jitter_5", "points_3", "point_uniform", "mask_noised"]
        for protocol in find_protocols(names):
            assert protocol.is_random
            first, second = (
                protocol.draw(square, np.random.default_rng(seed), GRID) for seed in (0, 1)
            )
            parts = ("point_coords", "box_xyxy", "mask_input")
            pairs = [(getattr(first, part), getattr(second, part)) for part in parts]
            assert any(a is not None and not np.array_equal(a, b) for a, b in pairs)


def test_what_a_recipe_trains_is_known():
    assert trained_parts(RECIPES["boxes"]) == {"box"}
    assert trained_parts(RECIPES["points"]) == {"points"}
    assert trained_parts(RECIPES["mixed"]) == {"box", "points", "mask"}
