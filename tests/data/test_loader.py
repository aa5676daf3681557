import numpy as np
import pytest
import torch

from samtune.data.dataset import Failure, PromptedDataset, PromptSettings
from samtune.data.loader import BatchLoader, EpochSampler, collate
from samtune.data.readers.mask_folder import MaskFolder
from samtune.errors import UserError
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.types import InputFrame

NUM_OBJECTS = {"s0": 2, "s1": 0, "s2": 5, "s3": 1, "s4": 3, "s5": 4, "s6": 2}


def training_data(folder, on_error="fail", augment="none"):
    settings = PromptSettings(InputFrame(32), 16, seed=5, on_error=on_error, augment=augment)
    return PromptedDataset(MaskFolder(folder), settings, RECIPES["mixed"], is_training=True)


def validation_data(folder, on_error="fail"):
    settings = PromptSettings(InputFrame(32), 16, seed=5, on_error=on_error)
    return PromptedDataset(MaskFolder(folder), settings, find_protocols(["box", "point"]), False)


def training(folder, batch_size=2, num_workers=0, seed=5, **settings):
    return BatchLoader(training_data(folder, **settings), batch_size, seed, num_workers)


def validation(folder, batch_size=3, num_workers=0, **settings):
    return BatchLoader(validation_data(folder, **settings), batch_size, None, num_workers)


def described(batch):
    """Every object of a batch with all that was drawn for it."""
    found = {}
    for name, prompts in batch.prompts.items():
        for number, (key, prompt) in enumerate(zip(batch.keys, prompts, strict=True)):
            parts = [None if part is None else part.tolist() for part in vars(prompt).values()]
            values = batch.pixel_values[batch.image_index[number]]
            found[name, key] = (parts, batch.targets[number].numpy().tobytes(), values.sum().item())
    return found


def all_described(batches):
    return {key: value for batch in batches for key, value in described(batch).items()}


def images_of(batches):
    """Images by batch; those without objects are counted as `-`."""
    return [
        [next((k.image_id for k, i in zip(b.keys, b.image_index, strict=True) if i == n), "-")
         for n in range(len(b.pixel_values))]
        for b in batches
    ]  # fmt: skip


def test_objects_are_packed_and_know_their_image(scenes_folder):
    batch = next(iter(validation(scenes_folder, batch_size=4)))
    assert batch.pixel_values.shape == (4, 3, 32, 32)
    assert batch.image_index.tolist() == [0, 0, 2, 2, 2, 2, 2, 3]
    assert batch.targets.shape == (8, 256, 256)
    assert batch.targets.dtype == torch.uint8
    assert batch.valid.shape == (4, 256, 256)
    assert [key.image_id for key in batch.keys] == ["s0"] * 2 + ["s2"] * 5 + ["s3"]
    assert {name: len(prompts) for name, prompts in batch.prompts.items()} == {"box": 8, "point": 8}


def test_packing_changes_nothing_about_an_item(scenes_folder):
    data = validation_data(scenes_folder)
    items = [data[index, 0] for index in (0, 1, 2)]
    batch = collate(items, seed=5)
    assert torch.equal(batch.pixel_values, torch.stack([item.pixel_values for item in items]))
    assert torch.equal(batch.targets, torch.cat([item.targets for item in items]))
    assert torch.equal(batch.valid[1], items[1].valid)
    assert batch.keys == items[0].keys + items[2].keys
    assert batch.prompts["box"] == items[0].prompts["box"] + items[2].prompts["box"]


def test_a_batch_of_images_without_objects_has_none(scenes_folder):
    batch = collate([validation_data(scenes_folder)[1, 0]], seed=5)
    assert batch.pixel_values.shape == (1, 3, 32, 32)
    assert batch.image_index.tolist() == []
    assert batch.targets.shape == (0, 256, 256)
    assert batch.keys == []
    assert batch.prompts == {"box": [], "point": []}


def test_a_batch_carries_the_seed_and_the_epoch(scenes_folder):
    loader = training(scenes_folder)
    loader.order.set_epoch(3)
    assert {batch.seed for batch in loader} == {(5, 3)}


def test_left_out_images_leave_no_gap(scenes_folder):
    data = validation_data(scenes_folder)
    batch = collate([None, data[0, 0], None, data[2, 0]], seed=5)
    assert batch.pixel_values.shape == (2, 3, 32, 32)
    assert batch.image_index.tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_a_batch_whose_images_are_all_left_out_is_empty():
    batch = collate([None, None], seed=5)
    assert len(batch.pixel_values) == 0
    assert batch.image_index.tolist() == []
    assert batch.keys == []


def test_a_failure_takes_the_place_of_the_batch(scenes_folder):
    failure = Failure("a reason")
    assert collate([validation_data(scenes_folder)[0, 0], failure], seed=5) is failure


def test_validation_keeps_the_order_and_the_epoch():
    sampler = EpochSampler(4, None)
    sampler.set_epoch(7)
    assert list(sampler) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_training_is_shuffled_anew_each_epoch():
    sampler = EpochSampler(50, 3)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert {number for _, number in drawn} == {epoch}
        orders.append([index for index, _ in drawn])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]
    assert orders[0] != list(range(50))


def test_another_seed_gives_another_order():
    assert list(EpochSampler(50, 3)) != list(EpochSampler(50, 4))


def test_every_image_is_given_once(scenes_folder):
    loader = training(scenes_folder, batch_size=3)
    batches = list(loader)
    given = sorted(name for names in images_of(batches) for name in names)
    assert given == ["-", "s0", "s2", "s3", "s4", "s5", "s6"]
    assert [len(batch.pixel_values) for batch in batches] == [3, 3, 1]
    assert len(loader) == 3


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (7, 0), (2, 2)])
def test_neither_batch_size_nor_workers_change_what_is_drawn(
    scenes_folder, batch_size, num_workers
):
    expected = all_described(training(scenes_folder, batch_size=2, augment="microscopy"))
    loader = training(scenes_folder, batch_size, num_workers, augment="microscopy")
    assert all_described(loader) == expected


def test_workers_keep_the_order(scenes_folder):
    assert images_of(training(scenes_folder, num_workers=2)) == images_of(training(scenes_folder))


def test_another_epoch_draws_other_prompts(scenes_folder):
    loader = training(scenes_folder)
    first = all_described(loader)
    loader.order.set_epoch(1)
    second = all_described(loader)
    assert first.keys() == second.keys()
    changed = [first[key][0] != second[key][0] for key in first]
    assert all(changed)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_loader_goes_on_at_the_next_batch(scenes_folder, num_workers):
    loader = training(scenes_folder, num_workers=num_workers)
    loader.order.set_epoch(4)
    whole = list(loader)
    interrupted = iter(loader)
    next(interrupted)
    next(interrupted)
    state = loader.state_dict()

    resumed = training(scenes_folder, num_workers=num_workers)
    resumed.load_state_dict(state)
    resumed.order.set_epoch(4)
    rest = list(resumed)
    assert images_of(rest) == images_of(whole)[2:]
    assert all_described(rest) == all_described(whole[2:])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_epoch_after_a_resumed_one_is_whole(scenes_folder, num_workers):
    resumed = training(scenes_folder, num_workers=num_workers)
    resumed.load_state_dict({"num_given": 3})
    assert len(list(resumed)) == 1
    resumed.order.set_epoch(1)
    expected = training(scenes_folder)
    expected.order.set_epoch(1)
    assert images_of(resumed) == images_of(expected)


def test_a_resumed_loader_counts_on(scenes_folder):
    resumed = training(scenes_folder)
    resumed.load_state_dict({"num_given": 1})
    batches = iter(resumed)
    next(batches)
    assert resumed.state_dict() == {"num_given": 2, "num_processes": 1}


def test_the_state_before_it_runs_is_the_one_that_was_loaded(scenes_folder):
    resumed = training(scenes_folder)
    resumed.load_state_dict({"num_given": 2})
    assert resumed.state_dict() == {"num_given": 2, "num_processes": 1}


@pytest.mark.parametrize("num_given", [0, 1])
@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1), (4, 3)])
def test_a_state_of_another_number_of_processes_is_refused(scenes_folder, num_given, before, now):
    """Also where an epoch has just ended: Lightning counts its batches."""
    state = {"num_given": num_given, "num_processes": before}
    resumed = BatchLoader(training_data(scenes_folder), 1, 5, 0, rank=0, world=now)
    with pytest.raises(UserError, match=f"by {before} training processes, and now there are {now}"):
        resumed.load_state_dict(state)


def test_the_state_after_an_epoch_is_the_beginning_of_the_next(scenes_folder):
    loader = training(scenes_folder)
    assert loader.state_dict() == {"num_given": 0, "num_processes": 1}
    list(loader)
    assert loader.state_dict() == {"num_given": 0, "num_processes": 1}


def test_an_epoch_left_in_the_middle_does_not_shorten_the_next(scenes_folder):
    loader = training(scenes_folder)
    next(iter(loader))
    assert len(list(loader)) == 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_image_stops_the_loader_with_its_name(broken_folder, num_workers):
    with pytest.raises(UserError, match=r"s1\.png cannot be read: .*on_error: skip"):
        list(training(broken_folder, num_workers=num_workers))


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_broken_image_can_be_passed_over(broken_folder, num_workers):
    batches = list(validation(broken_folder, 2, num_workers, on_error="skip"))
    assert images_of(batches) == [["s0"], ["s2", "s3"]]
    trained = list(training(broken_folder, 4, num_workers, on_error="skip"))
    assert sorted(images_of(trained)[0]) == ["s0", "s2", "s2", "s3"]


def test_a_batch_moves_all_its_tensors(scenes_folder):
    batch = next(iter(validation(scenes_folder)))
    moved = batch.to("meta")
    assert moved.pixel_values.is_meta
    assert moved.image_index.is_meta
    assert moved.targets.is_meta
    assert moved.valid.is_meta
    assert moved.keys == batch.keys
    assert moved.prompts == batch.prompts
    assert not batch.targets.is_meta


def test_the_number_of_objects_of_each_image_is_kept(scenes_folder):
    counts = dict.fromkeys(NUM_OBJECTS, 0)
    for batch in training(scenes_folder, batch_size=3):
        for key in batch.keys:
            counts[key.image_id] += 1
        assert np.all(np.diff(batch.image_index.numpy()) >= 0)
    assert counts == NUM_OBJECTS
