"""What a head finds on training images teaches a sharpener, which is kept where it helps."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from samtune.data.datamodule import SamDataModule
from samtune.heads.instances import CALIBRATION, InstanceHead, flattened
from samtune.inference.instances import InstanceFinder
from samtune.models.loading import load_model
from samtune.models.saving import save_tuned
from samtune.models.sharpening.network import Sharpener
from samtune.tasks.heads import sharpening
from samtune.tasks.opening import open_data


@pytest.fixture
def data(discs):
    opened = open_data(None, data={"path": str(discs), "min_area": 4, "num_workers": 0})
    return SamDataModule(opened.settings, is_for_head=True)


@pytest.fixture
def sam():
    sam = load_model("nano", image_size=64)
    sam.heads["instances"] = InstanceHead(sam.encoded, {"tile": 0, "sigma": 0.0}).eval()
    return sam


@pytest.fixture
def too_small(data, monkeypatch):
    """The head finds every disc, and leaves out the pixels along its outline."""
    truths = {}
    for split in ("train", "val"):
        source = data.whole_source(split)
        for index in range(len(source)):
            sample = source.read(index)
            truths[sample.image.tobytes()] = flattened(sample.labels)

    def maps(self, image):
        labels = truths[image.tobytes()]
        inside = ndimage.minimum_filter(labels, 3) == ndimage.maximum_filter(labels, 3)
        found = np.where(inside & (labels > 0), 0.95, 0.05).astype(np.float32)
        return np.stack([found] * 3)

    monkeypatch.setattr(InstanceFinder, "maps", maps)


class Growing(Sharpener):
    """Takes cells near the object for part of it, as far as the discs really reach."""

    def __init__(self, cells):
        super().__init__()
        self.reach = cells
        self.eval().requires_grad_(False)

    def forward(self, inputs):
        grown = torch.nn.functional.max_pool2d(inputs[:, -1:], 2 * self.reach + 1, 1, self.reach)
        return grown[:, 0], super().forward(inputs)[1]


def sharpen(sam, data, steps=4):
    return sharpening.sharpen_objects(sam, data, data.whole_source("val"), steps, None)


def test_one_that_helps_is_kept_and_lies_beside_the_head(
    sam, data, too_small, monkeypatch, tmp_path
):
    monkeypatch.setattr(sharpening, "_learn", lambda *_: Growing(2))
    told = sharpen(sam, data)
    assert told.startswith("objects are sharpened: mSA 0.")
    assert CALIBRATION in sam.heads["instances"].settings
    # what is saved is a plain one
    kept = Sharpener()
    sam.object_sharpener = kept
    save_tuned(sam, tmp_path)
    again = load_model(tmp_path).object_sharpener
    for name, value in kept.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_one_that_does_not_help_is_not(sam, data, too_small, monkeypatch):
    monkeypatch.setattr(sharpening, "_learn", lambda *_: Growing(0))
    assert sharpen(sam, data).startswith("objects are not sharpened: mSA")
    assert sam.object_sharpener is None


def test_it_learns_from_found_objects_beside_the_true_ones(sam, data, too_small):
    finder, sharpener = InstanceFinder(sam), Sharpener()
    answers = list(sharpening._answers(finder, sharpener, data, float("inf")))
    train = data.whole_source("train")
    areas = [np.bincount(train.read(n).labels.ravel())[1:] for n in range(len(train))]
    # of one hardly more than its outline is to be seen
    assert len(answers) == sum((each > 30).sum() for each in areas)
    for each in answers:
        found, truth = each.logits > 0, each.target > 127
        assert truth.sum() > found.sum()
        assert (found & ~truth).sum() < 0.1 * found.sum()


def test_a_head_that_finds_nothing_teaches_nothing(sam, data, monkeypatch):
    monkeypatch.setattr(InstanceFinder, "maps", lambda _, image: np.zeros((3, *image.shape[:2])))
    assert "has found none" in sharpen(sam, data)


def test_a_training_leaves_a_network_that_knows_its_domain(sam, data, too_small):
    learned = sharpening._learn(InstanceFinder(sam), data, 4, None)
    assert learned is not None
    assert float(learned.limit) > 0
    assert not learned.training


def test_damaged_files_are_told(sam, data, tmp_path):
    from samtune.errors import UserError

    sam.object_sharpener = Sharpener()
    save_tuned(sam, tmp_path)
    (file,) = tmp_path.rglob("sharpener.safetensors")
    file.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="train the head again"):
        load_model(tmp_path)
