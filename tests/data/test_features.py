"""What is kept of the encoder's frozen part: found again, never taken for another's, never damaged."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from samtune.data.dataset import PromptedDataset, PromptSettings
from samtune.data.features import FeatureStore, FrozenPart, join_features, open_store
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.settings import CacheSettings
from samtune.errors import UserError
from samtune.prompts.protocols import RECIPES
from samtune.types import Features, InputFrame

PART = FrozenPart({"weights": "abc", "depth": "2"}, entry_bytes=4 * (60 + 24))


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "cache", PART, "fp16", limit_bytes=10**6)


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return Features(
        torch.randn(1, 3, 4, 5, generator=generator), (torch.randn(1, 24, generator=generator),)
    )


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)


class TestEntries:
    def test_what_was_written_is_read_to_within_rounding(self, store, features):
        assert store.write("ab12", features)
        found = store.read("ab12")
        assert found.main.dtype == torch.float16
        assert torch.allclose(found.main.float(), features.main, rtol=5e-4, atol=1e-6)
        assert torch.allclose(found.details[0].float(), features.details[0], rtol=5e-4, atol=1e-6)

    def test_in_single_precision_to_the_last_bit(self, store, features):
        exact = replace(store, mode="fp32")
        exact.write("ab12", features)
        assert torch.equal(exact.read("ab12").main, features.main)

    def test_nothing_is_read_before_it_was_written(self, store):
        assert store.read("ab12") is None

    @pytest.mark.parametrize("place", [0, 20, -1, -3, 200])
    def test_a_changed_byte_makes_an_entry_missing(self, store, features, place, caplog):
        store.write("ab12", features)
        path = store.path_of("ab12")
        content = bytearray(path.read_bytes())
        content[place] ^= 0xFF
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert store.read("ab12") is None
        assert "is damaged: it is made again" in caplog.text
        store.write("ab12", features)
        assert store.read("ab12") is not None

    @pytest.mark.parametrize("size", [0, 3, 50])
    def test_half_an_entry_is_a_missing_one(self, store, features, size):
        store.write("ab12", features)
        path = store.path_of("ab12")
        path.write_bytes(path.read_bytes()[:size])
        assert store.read("ab12") is None

    def test_values_beyond_half_precision_are_refused(self, store, features):
        features.main[0, 0, 0, 0] = 1e6
        with pytest.raises(UserError, match=r"set data\.cache\.mode to fp32"):
            store.write("ab12", features)


class TestNames:
    def test_they_depend_on_every_byte_and_the_shape(self, store, image):
        other = image.copy()
        other[8, 6, 2] ^= 1
        names = {store.name_of(x) for x in (image, other, image.reshape(7, 9, 3))}
        assert len(names) == 3
        assert store.name_of(image.copy()) in names

    def test_a_view_of_an_image_is_named_as_its_copy(self, store, image):
        assert store.name_of(image[:, ::-1]) == store.name_of(image[:, ::-1].copy())

    @pytest.mark.parametrize("change", [{"weights": "x"}, {"depth": "3"}, {"precision": "bf16"}])
    def test_another_network_has_a_folder_of_its_own(self, store, change):
        other = replace(store, part=FrozenPart(PART.description | change, PART.entry_bytes))
        assert other.folder != store.folder
        assert replace(store, mode="fp32").folder != store.folder


class TestLimit:
    def test_the_folder_grows_no_further(self, store, features, caplog):
        small = replace(store, limit_bytes=1500)
        with caplog.at_level(logging.WARNING):
            written = [small.write(f"ab{number}", features) for number in range(20)]
        assert written[0]
        assert not written[-1]
        assert caplog.text.count("has reached its limit") == 1
        size = sum(f.stat().st_size for f in small.root.rglob("*") if f.is_file())
        assert size <= 1500 + 200  # and what tells whose the entries are

    def test_entries_of_other_networks_count(self, store, features):
        store.write("ab", features)
        other = replace(store, part=FrozenPart({"weights": "x"}, 100), limit_bytes=600)
        assert not other.write("cd", features)

    def test_what_it_will_take_is_told(self, store):
        assert store.entry_bytes == 2 * 84
        assert "1,000 images of 0.0 MB take 0.00 GB" in store.tell(1000)
        assert "the limit leaves room for 5952" in store.tell(10**6)


class TestSettings:
    def test_off_keeps_nothing(self):
        assert open_store(CacheSettings(), PART, "light") is None

    def test_a_network_trained_from_its_first_block_has_nothing_to_keep(self):
        with pytest.raises(UserError, match="trained from its first block"):
            open_store(CacheSettings("fp16"), None, "none")

    def test_random_augmentation_wants_a_number_of_views(self):
        with pytest.raises(UserError, match=r"set data\.cache\.views"):
            open_store(CacheSettings("fp16"), PART, "light")
        assert open_store(CacheSettings("fp16", views=3), PART, "light") is not None


class TestDataset:
    @pytest.fixture
    def make(self, scenes_folder, store):
        def build(is_training=True, **settings):
            return PromptedDataset(
                MaskFolder(scenes_folder), PromptSettings(InputFrame(32), 16, **settings),
                RECIPES["mixed"], is_training, store,
            )  # fmt: skip

        return build

    def test_a_kept_image_brings_features_instead_of_pixels(self, make, store, features):
        first = make()[0, 0]
        assert first.kept is None
        assert first.pixel_values.shape == (3, 32, 32)
        store.write(first.entry, features)
        again = make()[0, 0]
        assert torch.equal(again.kept.main, features.main.half())
        assert again.pixel_values.numel() == 0
        assert again.keys == first.keys
        assert torch.equal(again.targets, first.targets)

    def test_validation_keeps_its_pixels_for_pictures(self, make, store, features):
        store.write(make()[0, 0].entry, features)
        assert make(is_training=False)[0, 0].pixel_values.shape == (3, 32, 32)

    def test_views_take_turns(self, make):
        names = [make(augment="light", views=2)[0, epoch].entry for epoch in range(4)]
        assert names[0] == names[2] != names[1] == names[3]

    def test_without_views_each_epoch_is_new(self, make):
        names = {make(augment="light")[0, epoch].entry for epoch in range(12)}
        assert len(names) > 4

    def test_prompts_are_drawn_anew_in_each_epoch(self, make):
        points = [make(views=1, augment="light")[2, epoch].prompts for epoch in range(2)]
        assert str(points[0]) != str(points[1])


def test_images_are_joined_in_single_precision(features):
    joined = join_features(
        [features.to(torch.float16), features], torch.device("cpu"), torch.float32
    )
    assert joined.main.shape == (2, 3, 4, 5)
    assert joined.main.dtype == joined.details[0].dtype == torch.float32
    assert torch.equal(joined.main[1], features.main[0])
