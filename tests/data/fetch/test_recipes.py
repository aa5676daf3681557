"""Every recipe on archives in its publisher's layout, read back the way that training reads it."""

import csv

import numpy as np
import pytest

from samtune.cli import main
from samtune.data.fetch.recipe import read_recipe, recipe_names
from samtune.errors import UserError
from tests.commands.planning import planned
from tests.data.fetch import published

SAMPLES = ("brain_sample", "buildings_sample", "nuclei_sample")
# name of the layout -> images of train, val and test (of volumes: volumes)
SPLITS = {
    "dsb2018": (6, 2, 2),
    "kvasir_seg": (6, 2, 2),
    "isic2018_task1": (5, 2, 3),
    "drive": (14, 6, 20),
    "drive_without_test": (14, 3, 3),
    "massachusetts_buildings": (5, 2, 3),
    "massachusetts_roads": (5, 2, 3),
    "landcover_ai": (6, 2, 4),
    "whu_buildings": (5, 2, 3),
}
READABLE = (*SPLITS, "cvc_clinicdb", "synapse_ct", "spacenet_vegas")


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """A function that makes a data set once and gives its folder."""
    done = {}

    def fetch(layout):
        if layout not in done:
            folder = tmp_path_factory.mktemp(layout)
            (folder / "in").mkdir()
            given = getattr(published, layout)(folder / "in")
            name, out = layout.removesuffix("_without_test"), folder / "out"
            arguments = ["fetch", name, "--out", str(out), "--archives", *map(str, given)]
            assert main(arguments) == 0
            done[layout] = out
        return done[layout]

    return fetch


@pytest.fixture(scope="module")
def data_of(fetched, tmp_path_factory):
    """A function that gives the data module of the config that lies in a data set's folder."""
    done = {}

    def read(layout):
        if layout not in done:
            run = tmp_path_factory.mktemp("runs") / "run"
            config = fetched(layout) / "config.yaml"
            done[layout] = planned("--config", config, "--run", run).data
        return done[layout]

    return read


def manifest(folder):
    with (folder / "manifest.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_recipe_is_known_and_tried():
    assert set(recipe_names()) == {*SAMPLES, *READABLE} - {"drive_without_test"}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_what_is_known(name):
    recipe = read_recipe(name)
    assert recipe.title
    assert recipe.citation
    assert recipe.home.startswith("http")
    assert recipe.verified or recipe.notes
    assert bool(recipe.archives) != bool(recipe.access)
    for archive in recipe.archives:
        assert sum(map(bool, (archive.url, archive.index, archive.wheel))) == 1
        assert len(archive.sha256) in (0, 64)
        assert len(archive.md5) in (0, 32)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"no data set 'kvasir': choose from .*kvasir_seg"):
        read_recipe("kvasir")


@pytest.mark.parametrize("name", recipe_names())
def test_the_config_of_a_recipe_is_understood(name, tmp_path):
    text = read_recipe(name).config
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("$OUT", '"some where"'))
    training = planned("--config", config, "--run", tmp_path / "run")
    assert str(training.data.path) == "some where"
    for setting in ("base", "labels", "stretch", "tile", "augment", "recipe"):
        lines = [line for line in text.splitlines() if f" {setting}:" in line]
        assert all("  # " in line for line in lines), setting


@pytest.mark.parametrize("layout", SPLITS)
def test_splits_are_those_of_the_publisher_or_drawn(data_of, layout):
    sizes = data_of(layout).split_sizes()
    assert tuple(sizes.values()) == SPLITS[layout]


@pytest.mark.parametrize("layout", READABLE)
def test_no_group_lies_in_two_splits(fetched, layout):
    rows = manifest(fetched(layout))
    pairs = {(row["group"], row["split"]) for row in rows}
    assert len(pairs) == len({group for group, _ in pairs})
    assert {split for _, split in pairs} == {"train", "val", "test"}


@pytest.mark.parametrize("layout", READABLE)
def test_every_image_is_read_with_its_object(data_of, layout):
    data = data_of(layout)
    for split in ("train", "val", "test"):
        source = data.whole_source(split)
        sample = source.read(0)
        assert sample.image.shape[:2] == sample.labels.shape[1:]
        if layout not in ("synapse_ct", "landcover_ai"):
            place = sample.labels[0][published.SQUARE]
            assert len(np.unique(place)) == 1
            assert place[0, 0] > 0
            assert np.count_nonzero(sample.labels == place[0, 0]) == place.size


def test_nuclei_are_numbered_and_the_rest_is_background(data_of):
    sample = data_of("dsb2018").whole_source("train").read(0)
    assert np.unique(sample.labels).tolist() == [0, 1, 2]


@pytest.mark.parametrize("layout", ["kvasir_seg", "massachusetts_roads", "whu_buildings"])
def test_masks_are_written_as_png_of_two_values(fetched, layout):
    from PIL import Image

    file = next((fetched(layout) / "masks").iterdir())
    with Image.open(file) as mask:
        assert mask.format == "PNG"
        np.testing.assert_array_equal(np.asarray(mask), published.square())


def test_frames_of_a_video_stay_together(fetched):
    groups = {int(row["id"]): int(row["group"]) for row in manifest(fetched("cvc_clinicdb"))}
    assert (groups[1], groups[25], groups[37], groups[601]) == (1, 1, 2, 29)
    assert len(set(groups.values())) >= 25


def test_the_test_volumes_are_those_of_transunet(fetched, data_of):
    rows = manifest(fetched("synapse_ct"))
    test = {row["id"] for row in rows if row["split"] == "test"}
    assert test == {f"{n:04d}" for n in (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38)}
    assert len(rows) == 30
    sample = data_of("synapse_ct").whole_source("test").read(0)
    assert sample.classes == {6: "liver", 13: "left adrenal gland"}


def test_tiles_are_numbered_as_their_authors_number_them(data_of):
    data = data_of("landcover_ai")
    ids = [
        record.image_id for split in ("train", "val") for record in data.whole_source(split).records
    ]
    assert ids[-2:] == ["M-33-20-D-c-1-2_0", "M-33-20-D-c-1-2_1"]
    train = data.whole_source("train")
    samples = {record.image_id[-1]: train.read(n) for n, record in enumerate(train.records)}
    assert set(samples["0"].classes.values()) == {"water"}
    assert set(samples["5"].classes.values()) == {"building"}
    assert samples["5"].image.shape == (512, 512, 3)


def test_numbers_that_come_again_get_their_split_in_front(fetched):
    assert {row["id"] for row in manifest(fetched("whu_buildings"))} >= {
        "train_0",
        "val_0",
        "test_0",
    }


def test_squares_of_land_stay_together(fetched):
    folder = fetched("spacenet_vegas")
    rows = manifest(folder)
    assert len(rows) == 60
    assert len({row["group"] for row in rows}) == 4
    for row in rows:
        assert (folder / f"{row['id']}.tif").is_file()
        assert (folder / f"{row['id']}.geojson").is_file()
    assert not list(folder.rglob("MUL*"))


def test_the_folder_that_a_pattern_begins_with_can_be_named(tmp_path):
    given = published.write_folder(
        tmp_path / "Kvasir-SEG",
        {f"{kind}/a{n}.jpg": published.encode(published.square(), "JPEG")
         for kind in ("images", "masks") for n in range(4)},
    )  # fmt: skip
    out = tmp_path / "out"
    assert main(["fetch", "kvasir_seg", "--out", str(out), "--archives", str(given)]) == 0
    assert len(list((given / "images").iterdir())) == 4  # the user's own files stay


@pytest.mark.slow
def test_the_config_trains(fetched, tmp_path):
    """On the small model, a step of each split."""
    config = fetched("kvasir_seg") / "config.yaml"
    arguments = [
        "fit",
        "--config",
        str(config),
        "--base",
        "nano",
        "--run",
        str(tmp_path / "run"),
    ]
    few = [
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches",
        "1",
        "--data.num_workers",
        "0",
    ]
    cpu = [
        "--trainer.limit_val_batches",
        "1",
        "--trainer.accelerator",
        "cpu",
        "--data.max_objects",
        "2",
    ]
    assert main([*arguments, *few, *cpu]) == 0
    assert (tmp_path / "run" / "adapter").is_dir()
