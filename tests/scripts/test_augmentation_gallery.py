"""The pictures of docs/augmentation.md: one for each preset, drawn as it says."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samtune.data.augment.presets import PRESETS
from tests.conftest import draw_discs

DOCS = Path(__file__).parents[2] / "docs"
NAMES = PRESETS[1:]


@pytest.fixture(scope="module")
def gallery(load_script):
    return load_script("augmentation_gallery")


@pytest.fixture(scope="module")
def samples(gallery, tmp_path_factory):
    nuclei = tmp_path_factory.mktemp("nuclei")
    image, labels = draw_discs((64, 64), 4, seed=0)
    for kind, pixels in (("images", image), ("labels", labels)):
        (nuclei / "train" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(nuclei / "train" / kind / "nuclei_096_000.png")
    return gallery.originals(nuclei)


def test_every_preset_has_its_line_chapter_and_picture():
    text = (DOCS / "augmentation.md").read_text()
    chapters = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert chapters == list(NAMES)
    assert re.findall(r"!\[(\w+)\]\(augment/\1\.webp\)", text) == chapters
    assert {path.stem for path in (DOCS / "augment").iterdir()} == set(NAMES)
    assert re.findall(r"^\| \[`(\w+)`\]\(#\1\)", text, re.MULTILINE) == chapters


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_small(name):
    content = (DOCS / "augment" / f"{name}.webp").read_bytes()
    assert len(content) < 60_000
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (6 * 176 + 5 * 4, 176)


def test_there_is_an_original_with_objects_for_each(samples):
    assert samples.keys() == set(NAMES)
    for sample in samples.values():
        assert sample.image.shape == (*sample.labels.shape[1:], 3)
        assert sample.labels.any()


@pytest.mark.parametrize("name", ["ct", "mr", "xray", "ultrasound", "fluorescence"])
def test_strips_show_the_original_and_other_pictures(gallery, samples, name):
    strip = gallery.strip(samples[name], name)
    panels = [strip[:, start : start + 176] for start in range(0, 6 * 180, 180)]
    outlined = gallery.outlined(samples[name].image, samples[name].labels)
    np.testing.assert_array_equal(panels[0], outlined)
    assert len({panel.tobytes() for panel in panels}) >= 5
