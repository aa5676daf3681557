"""A step in pieces: every object once, with its own image, and about equal costs."""

import pytest
import torch

from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.prompts.protocols import RECIPES
from samtune.training.losses import LossWeights
from samtune.training.pieces import Piece, divided
from samtune.training.settings import LossSettings
from samtune.training.step import StepWork, added
from samtune.types import Batch, ObjectKey


def step(counts, with_general=False):
    """Images with so many objects; what belongs to an object or image bears its number."""
    index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    keys = [ObjectKey(str(image), n) for image, count in enumerate(counts) for n in range(count)]
    numbers = torch.arange(len(index))
    batch = Batch(
        torch.arange(len(counts))[:, None, None, None].float(), index, numbers[:, None, None],
        torch.ones(len(counts), 1, 1), {"first": numbers.tolist()}, keys,
    )  # fmt: skip
    return Piece(batch, 0.5, (2, 3), step=7, with_general=with_general)


@pytest.mark.parametrize("num", [1, 2, 3, 8])
@pytest.mark.parametrize("with_general", [False, True])
def test_every_object_is_in_one_piece_with_its_own_image(num, with_general):
    pieces = divided(step([3, 0, 1, 4], with_general), num)
    assert [piece.number for piece in pieces] == list(range(min(num, 4)))
    assert sum(piece.share for piece in pieces) == pytest.approx(0.5)
    assert [piece.with_general for piece in pieces] == [False] * (len(pieces) - 1) + [with_general]
    found = []
    for piece in pieces:
        batch = piece.batch
        images = batch.pixel_values.flatten().tolist()
        assert (piece.place, piece.step) == ((2, 3), 7)
        assert len(batch.valid) == len(images)
        assert [key.image_id for key in batch.keys] == [
            str(int(images[n])) for n in batch.image_index.tolist()
        ]
        assert batch.prompts["first"] == batch.targets.flatten().tolist()
        found += batch.prompts["first"]
    assert sorted(found) == list(range(8))


def test_pieces_cost_about_as_much_as_each_other():
    sizes = [len(piece.batch.valid) for piece in divided(step([8, 8, 8, 8]), 2)]
    assert sizes == [2, 2]
    sizes = [len(piece.batch.valid) for piece in divided(step([8, 8, 8, 8], True), 2)]
    assert sizes == [3, 1]
    pieces = divided(step([60, 5, 5, 5]), 2)
    assert [len(piece.batch.valid) for piece in pieces] == [1, 3]


def test_what_pieces_add_is_what_the_whole_has(batch):
    torch.manual_seed(0)
    sam = load_model("nano", image_size=64)
    sam.with_multimask = True
    prepare_for_training(sam, "lora", LoraSettings(), "lora", False)
    recipe = RECIPES["mixed"]
    work = StepWork(sam.train(), recipe, LossWeights.from_settings(LossSettings(), recipe))
    whole = Piece(batch, 1.0, (0, 0))
    values, trained = {}, [p for p in sam.parameters() if p.requires_grad]
    for piece in divided(whole, 2):
        loss, own = work.loss_of(piece)
        loss.backward()
        values = added(values, own)
    parts = [p.grad.clone() for p in trained if p.grad is not None]
    sam.zero_grad()
    loss, expected = work.loss_of(whole)
    loss.backward()
    assert values.keys() == expected.keys()
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(parts, [p.grad for p in trained if p.grad is not None])


def test_a_piece_without_objects_adds_nothing_but_counts(batch, choose):
    sam = load_model("nano", image_size=64)
    prepare_for_training(sam, "lora", LoraSettings(), "lora", False)
    recipe = RECIPES["mixed"]
    work = StepWork(sam.train(), recipe, LossWeights.from_settings(LossSettings(), recipe))
    loss, values = work.loss_of(Piece(choose(batch, []), 0.0, (0, 0)))
    loss.backward()
    assert values == {}
    assert float(loss) == 0
    assert added({"loss": 1}, values) == {"loss": 1}
