"""Pictures and volumes of wheels, made here; the real ones with a network."""

import numpy as np
import pytest
from PIL import Image

from samtune.data.fetch.samples import MAKERS, SLABS, brain, cut
from samtune.data.readers.volumes import Volumes
from samtune.errors import UserError


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Tiles of a picture in which every label value tells its own row."""
    folder = tmp_path_factory.mktemp("tiles")
    rows = np.repeat(np.arange(512, dtype=np.uint16)[:, None], 512, axis=1)
    cut((rows // 2).astype(np.uint8), rows, folder)
    return folder


def rows_of(tiles, split):
    files = (tiles / split / "labels").glob("*.png")
    return {int(row) for file in files for row in np.unique(np.asarray(Image.open(file)))}


def test_a_gap_of_32_pixels_lies_between_the_splits(tiles):
    train, val, test = (rows_of(tiles, split) for split in ("train", "val", "test"))
    assert min(val) - max(train) > 32
    assert min(test) - max(val) > 32


def test_every_split_has_images_with_labels_of_their_size(tiles):
    for split in ("train", "val", "test"):
        images = sorted((tiles / split / "images").glob("*.png"))
        labels = sorted((tiles / split / "labels").glob("*.png"))
        pairs = list(zip(images, labels, strict=True))
        assert pairs
        assert all(a.name == b.name for a, b in pairs)
        assert all(Image.open(a).size == Image.open(b).size for a, b in pairs)


def test_slabs_of_a_brain_keep_their_place_and_their_tissues(tmp_path):
    import nibabel

    data = tmp_path / "in" / "nilearn" / "datasets" / "data"
    data.mkdir(parents=True)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    volumes = {kind: np.zeros((6, 6, 189), np.uint8) for kind in ("t1", "gm", "wm")}
    volumes["t1"][:] = np.arange(189, dtype=np.uint8)
    volumes["gm"][0], volumes["gm"][1], volumes["wm"][2] = 127, 128, 255
    for kind, values in volumes.items():
        name = f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, affine), data / name)
    (tmp_path / "out").mkdir()
    counts = brain([tmp_path / "in"], tmp_path / "out")
    source = Volumes(tmp_path / "out")
    assert len(source) == sum(counts.values())
    test = nibabel.load(tmp_path / "out" / "images" / "mni152_test.nii.gz")
    assert test.affine[2, 3] == SLABS["test"][0]
    assert test.dataobj[0, 0, 0] == SLABS["test"][0]
    labels = np.asarray(nibabel.load(tmp_path / "out" / "labels" / "mni152_val.nii.gz").dataobj)
    assert [int(labels[x].max()) for x in range(4)] == [0, 1, 2, 0]
    assert {dict(r.columns)["split"] for r in source.records} == {"train", "val", "test"}


def test_slabs_do_not_touch():
    assert SLABS["train"][1] + 8 <= SLABS["val"][0]
    assert SLABS["val"][1] + 8 <= SLABS["test"][0]


@pytest.mark.parametrize("name", MAKERS)
def test_another_wheel_is_said_to_lack_it(name, tmp_path):
    with pytest.raises(UserError, match="what was fetched or named with --archives"):
        MAKERS[name]([tmp_path], tmp_path)
