"""The small U-Net that a tuned SAM is compared with."""

import re

import numpy as np
import pytest

from samtune.commands.flags import parse
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import FewObjects
from samtune.tasks.opening import open_data


@pytest.fixture(scope="module")
def specialist(load_script):
    return load_script("specialist")


def test_a_crop_lies_around_its_box(specialist, discs):
    data = open_data(None, data={"path": str(discs)})
    item = next(specialist.objects_of(data, "train", 1))
    values, truth, moved = specialist.crop_of(item, specialist.box_of(item.place))
    assert values.shape == (4, specialist.SIDE, specialist.SIDE)
    rows, columns = np.nonzero(values[3])
    inside = np.nonzero(truth > 0.5)
    assert abs(rows.mean() - inside[0].mean()) < 3
    assert abs(columns.mean() - inside[1].mean()) < 3
    corner = moved @ [item.place.columns.start - 0.5, item.place.rows.start - 0.5, 1]
    assert corner == pytest.approx([columns.min() - 0.5, rows.min() - 0.5], abs=1)


@pytest.mark.slow
def test_it_is_trained_and_measured_on_the_test_images(specialist, discs, capsys):
    arguments = ["--data.path", str(discs), "--minutes", "0.05"]
    assert specialist.main(**parse(specialist.main, "specialist", arguments, {})) == 0
    told = capsys.readouterr().out
    data = open_data(None, data={"path": str(discs)}).source("test")
    count = sum(len(find_objects(data.read(n).labels, 10)) for n in range(len(data)))
    assert f"on {count} test objects" in told
    assert float(re.search(r"box mIoU (\d\.\d+)", told)[1]) > 0.5


def test_a_source_of_few_objects_keeps_the_same_ones_each_time(discs):
    whole = open_data(None, data={"path": str(discs)}).source("train")
    few = FewObjects(whole, 2, seed=1)
    for index in range(len(whole)):
        sample = few.read(index)
        places = find_objects(sample.labels)
        assert len(places) == min(2, len(find_objects(whole.read(index).labels)))
        np.testing.assert_array_equal(sample.labels, few.read(index).labels)
        for place in places:
            mask = object_mask(sample.labels, place)
            assert (whole.read(index).labels[place.layer][mask] == place.object_id).all()
