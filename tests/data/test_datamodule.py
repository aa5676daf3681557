import os
import shutil
from types import SimpleNamespace

import pytest
import torch

from samtune.data.datamodule import SamDataModule
from samtune.data.settings import CacheSettings, DataSettings
from samtune.errors import UserError
from samtune.reading import Reading
from samtune.types import InputFrame


@pytest.fixture
def data(scenes_folder):
    """A data module of a run whose model takes 32 pixels and masks of 16."""

    def make(**settings):
        settings = {"path": str(scenes_folder), "num_workers": 0, "windows": 0} | settings
        module = SamDataModule(DataSettings(**settings))
        model = SimpleNamespace(frame=InputFrame(32), mask_side=16, reads_views=False)
        module.trainer = SimpleNamespace(
            lightning_module=model, global_rank=0, world_size=1, num_training_batches=float("inf")
        )
        return module

    return make


def ids(source):
    return [record.image_id for record in source.records]


def test_the_splits_are_those_of_the_settings(data):
    module = data(val_fraction=0.3, test_fraction=0)
    assert (len(module.source("train")), len(module.source("val"))) == (4, 3)


def test_the_seed_draws_the_splits(data):
    assert ids(data(seed=1).source("val")) == ids(data(seed=1).source("val"))
    assert len({tuple(ids(data(seed=seed).source("val"))) for seed in range(6)}) > 1


def test_an_empty_split_is_named_with_what_there_is(data):
    module = data(test_fraction=0)
    with pytest.raises(
        UserError, match=r"'test' of .* has no images \(found: train 5, val 2, test 0"
    ):
        module.source("test")


def test_an_unknown_split_is_named(data):
    with pytest.raises(UserError, match="the split 'holdout' of"):
        data().source("holdout")


def test_setting_up_a_fit_says_that_the_path_is_wrong(data, tmp_path):
    with pytest.raises(UserError, match=r"there is no data at .*gone: set data\.path"):
        data(path=str(tmp_path / "gone")).setup("fit")


def test_setting_up_a_fit_says_that_there_is_no_validation(data):
    with pytest.raises(UserError, match="the split 'val'"):
        data(val_fraction=0).setup("fit")


def test_training_is_shuffled_prompted_by_the_recipe_and_sized_for_the_model(data):
    module = data(batch_size=3, recipe="boxes", seed=4)
    loader = module.train_dataloader()
    batch = next(iter(loader))
    assert len(loader) == 1
    assert batch.pixel_values.shape == (3, 3, 32, 32)
    assert batch.seed == (4, 0)
    assert list(batch.prompts) == ["first"]
    assert {prompt.signature for prompt in batch.prompts["first"]} == {(0, True, False)}
    assert loader.order.seed == 4


def test_mask_prompts_have_the_side_of_the_model(data):
    loader = data(recipe="mixed").train_dataloader()
    found = set()
    for epoch in range(12):
        loader.order.set_epoch(epoch)
        prompts = [prompt for batch in loader for prompt in batch.prompts["first"]]
        found |= {prompt.mask_input.shape for prompt in prompts if prompt.mask_input is not None}
    assert found == {(16, 16)}


def test_validation_keeps_its_order_and_is_prompted_by_the_protocols(data):
    module = data(batch_size=2, val_protocols=["points_3", "box"])
    loader = module.val_dataloader()
    batch = next(iter(loader))
    assert sorted(batch.prompts) == ["box", "points_3"]
    assert loader.order.seed is None
    with_objects = [name for name in ids(module.source("val")) if name != "s1"]
    found = dict.fromkeys(key.image_id for batch in loader for key in batch.keys)
    assert list(found) == with_objects


def test_objects_per_image_are_limited_apart_in_training_and_validation(data):
    module = data(max_objects=1, val_objects=2, val_fraction=0.4, test_fraction=0)
    for loader, limit in ((module.train_dataloader(), 1), (module.val_dataloader(), 2)):
        counts = {}
        for batch in loader:
            for key in batch.keys:
                counts[key.image_id] = counts.get(key.image_id, 0) + 1
        assert max(counts.values()) == limit


def test_settings_reach_the_readers(data):
    module = data(
        labels="semantic",
        class_names={1: "first"},
        ignore_values=[2],
        stretch="percentile",
        bands=[2, 1, 0],
        with_components=True,
    )
    settings = module.settings.of_source
    assert (settings.labels, settings.with_components) == ("semantic", True)
    assert (settings.class_names, settings.ignore_values) == (((1, "first"),), (2,))
    assert settings.reading == Reading((2, 1, 0), "percentile")
    samples = [module.source("train").read(index) for index in range(len(module.source("train")))]
    names = {name for sample in samples for name in sample.classes.values()}
    assert "first" in names
    assert "2" not in names


def test_tiles_are_cut_within_a_split(data):
    module = data(tile=32, tile_overlap=8)
    whole = {name: set(ids(data().source(name))) for name in ("train", "val", "test")}
    for split, names in whole.items():
        tiles = module.source(split)
        assert {name.split("@")[0] for name in ids(tiles)} == names
        assert len(tiles) == 2 * 3 * len(names)
        assert tiles.read(0).image.shape == (32, 32, 3)


@pytest.mark.parametrize(("tile", "overlap"), [(64, 64), (64, 70)])
def test_an_overlap_that_does_not_fit_the_tile_is_refused(data, tile, overlap):
    with pytest.raises(UserError, match=rf"tile_overlap is {overlap}: give 0 to 63"):
        data(tile=tile, tile_overlap=overlap)


@pytest.mark.parametrize(
    ("tile", "given", "overlap"),
    [
        (0, -1, 64),
        (1024, -1, 64),
        (256, -1, 64),
        (112, -1, 28),
        (57, -1, 14),
        (57, 0, 0),
        (112, 64, 64),
    ],
)
def test_small_tiles_overlap_less(data, tile, given, overlap):
    module = data(tile=tile, tile_overlap=given)
    assert module.tile_overlap == module.settings.of_source.tile_overlap == overlap


def test_drawn_scenes_are_not_cut_into_tiles(data):
    with pytest.raises(UserError, match="drawn pictures are small already"):
        data(format="drawn", tile=128)


def test_an_unknown_protocol_is_named(data):
    with pytest.raises(UserError, match="unknown protocol 'boxes': choose from box"):
        data(val_protocols=["boxes"])


def test_an_unknown_augmentation_is_named_when_training_begins(data):
    with pytest.raises(UserError, match="unknown augmentation 'lite'"):
        data(augment="lite").setup("fit")


def test_the_number_of_workers_is_that_of_the_settings_or_half_the_cores(data):
    assert data(num_workers=3).num_workers == 3
    expected = min(8, max(1, (os.cpu_count() or 1) // 2))
    assert data(num_workers=-1).num_workers == expected


def test_the_state_is_the_number_of_batches_given(data):
    module = data(test_fraction=0)
    assert module.state_dict() == {"num_given": 0}
    batches = iter(module.train_dataloader())
    next(batches)
    next(batches)
    assert module.state_dict() == {"num_given": 2, "num_processes": 1}


def test_training_goes_on_where_the_loaded_state_says(data):
    whole = list(data(test_fraction=0).train_dataloader())
    module = data(test_fraction=0)
    module.load_state_dict({"num_given": 3})
    assert module.state_dict() == {"num_given": 3}
    rest = list(module.train_dataloader())
    assert len(whole) == 5
    assert [batch.keys for batch in rest] == [batch.keys for batch in whole[3:]]


def test_a_state_saved_before_the_first_batch_is_the_one_that_was_loaded(data):
    module = data(test_fraction=0)
    module.load_state_dict({"num_given": 3})
    module.train_dataloader()
    assert module.state_dict() == {"num_given": 3, "num_processes": 1}


def test_a_loaded_state_does_not_shorten_later_epochs(data):
    module = data(test_fraction=0)
    module.load_state_dict({"num_given": 3})
    loader = module.train_dataloader()
    assert [len(list(loader)), len(list(loader))] == [2, 5]
    assert len(list(module.train_dataloader())) == 5


def test_an_epoch_counts_tiles_and_windows(data):
    module = data(test_fraction=0, batch_size=2)
    assert module.tell_epoch() == "an epoch: 5 images, 3 batches of 2"
    tiled = data(test_fraction=0, batch_size=2, tile=32, tile_overlap=0)
    number = len(tiled.source("train"))
    assert number > 5
    assert tiled.tell_epoch() == (
        f"an epoch: 5 images, {number} tiles of them, {-(-number // 2)} batches of 2"
    )
    told = data(test_fraction=0, batch_size=2, windows=3).tell_epoch()
    assert told == "an epoch: 5 images, 15 windows of them, 8 batches of 2"


def test_images_without_a_size_are_left_out_if_they_are_to_be_skipped(
    data, tmp_path, scenes_folder
):
    folder = shutil.copytree(scenes_folder, tmp_path / "data")
    next(iter(sorted((folder / "images").iterdir()))).write_bytes(b"no image")
    for more in ({"windows": 2}, {"tile": 32, "tile_overlap": 0}):
        good = {"path": str(folder), "test_fraction": 0, "val_fraction": 0.2, **more}
        with pytest.raises(UserError, match="no image that can be read"):
            [data(**good).source(split) for split in ("train", "val")]
        assert all(len(data(**good, on_error="skip").source(s)) for s in ("train", "val"))


class TestWindows:
    def test_an_epoch_has_enough_of_them_whatever_the_number_of_images(self, data):
        module = data(test_fraction=0, windows=-1)
        assert module.num_items("train") == 260  # 52 of each of 5 images
        assert len(module.train_dataloader().dataset) == 260
        assert data(test_fraction=0, windows=2).num_items("train") == 10
        assert data(test_fraction=0, windows=0).num_items("train") == 5

    def test_images_stay_whole_where_windows_are_drawn_from_them(self, data):
        module = data(test_fraction=0, windows=-1, tile=16, tile_overlap=4)
        assert len(module.source("val")) == 2
        assert len(module.tiles("val")) > 2

    def test_very_large_images_are_read_in_blocks(self, data, monkeypatch):
        monkeypatch.setattr("samtune.data.split_sources._BLOCK", 40)
        names = ids(data(test_fraction=0, windows=-1).source("val"))
        assert all("@" in name for name in names)

    def test_each_object_of_validation_has_its_turn(self, data):
        module = data(test_fraction=0, windows=-1, val_objects=16)
        model = module.trainer.lightning_module
        dataset = module.val_dataset(model)
        assert len(dataset) == 2 * module.windows("val") == 4
        items = [dataset[index, 0] for index in range(len(dataset))]
        assert sum(item is not None for item in items) >= 2
        for index, item in enumerate(items):
            again = dataset[index, 0]
            assert (item is None) == (again is None)
            assert item is None or torch.equal(item.pixel_values, again.pixel_values)

    def test_a_cache_keeps_the_same_windows(self, data):
        module = data(test_fraction=0, windows=3, cache=CacheSettings("fp16", views=2))
        assert module.views == 2
        general = 256  # pictures that hold what the base could do
        assert module.num_kept() == 5 * 3 * 2 + module.num_items("val") + general
        assert data(windows=3, cache=CacheSettings("fp16")).views == 1

    def test_general_pictures_are_asked_with_points_and_boxes_for_ten_objects(self, data):
        module = data(test_fraction=0, windows=-1)
        dataset = module.general_dataset(module.trainer.lightning_module)
        items = [dataset[number, 0] for number in range(12)]
        prompts = [prompt for item in items for prompt in item.prompts["first"]]
        assert max(len(item.prompts["first"]) for item in items) == 10
        kinds = [(p.point_coords is not None, p.box_xyxy is not None) for p in prompts]
        assert set(kinds) == {(True, False), (False, True)}
        assert 0.4 < sum(is_point for is_point, _ in kinds) / len(kinds) < 0.8
