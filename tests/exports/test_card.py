"""The model card: the Hub's metadata, and what a user has to know."""

import hashlib
from dataclasses import replace

import pytest
import yaml

from samtune.errors import UserError
from samtune.exports.adapter import find_hub_id
from samtune.exports.card import Facts, metadata, write_card
from samtune.exports.exported import Exported
from samtune.models.identity import BaseIdentity
from samtune.models.mask_thresholds import FittedThresholds, MaskThresholds
from samtune.models.registry import REGISTRY
from samtune.reading import Reading
from tests.models.families.tiny import build_member

EXPORTED = Exported(
    "peft", {"a.bin": "weights"}, "USE IT SO", ("logits: 1e-6",), ("It cannot fly.",)
)
SETTINGS = {
    "seed": 7,
    "trainer": {"max_epochs": 4},
    "model": {"mode": "lora", "decoder": "full", "lora": {"rank": 8, "alpha": 16.0}},
    "data": {"path": "/home/somebody/secret/nuclei", "recipe": "medsam", "tile": 256},
}
FACTS = Facts(
    "nuclei", "adapter", BaseIdentity("vit_b", "", 1024, "abc"), "facebook/sam-vit-base", SETTINGS,
    "too few images", scale=0.5, terms="licence: CC0",
)  # fmt: skip


@pytest.fixture(scope="module")
def sam():
    sam = build_member("sam")
    sam.reading = Reading((3, 2, 1), "percentile", (0.0, 4000.0))
    return sam


@pytest.fixture
def card(sam, tmp_path):
    def write(facts=FACTS):
        write_card(tmp_path, sam, EXPORTED, facts)
        return (tmp_path / "README.md").read_text()

    return write


def test_the_hub_reads_its_metadata(card):
    text = card(replace(FACTS, datasets=("me/cells",)))
    assert text.startswith("---\n")
    assert yaml.safe_load(text.split("---")[1]) == {
        "license": "apache-2.0",
        "base_model": "facebook/sam-vit-base",
        "library_name": "peft",
        "pipeline_tag": "mask-generation",
        "tags": ["samtune", "segment-anything", "image-segmentation", "sam", "lora"],
        "datasets": ["me/cells"],
    }


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [("vit_b", "", "apache-2.0"), ("vit_b", "mit", "mit"), ("sam3", "", "other"),
     ("somebody/x", "", "unknown")],
)  # fmt: skip
def test_the_licence_is_the_base_s_or_the_user_s(sam, name, given, expected):
    facts = replace(FACTS, base=BaseIdentity(name, "", 1024, ""), license=given)
    assert metadata(sam, EXPORTED, facts)["license"] == expected


def test_weights_of_one_s_own_file_are_named_and_have_no_licence(sam, card, tmp_path):
    file = tmp_path / "secret" / "my_weights.pth"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    facts = replace(FACTS, base=BaseIdentity("vit_b", str(file), 1024, "abc"), hub_id="")
    text = card(facts)
    assert f"of the file `my_weights.pth` (sha256 `{digest}`)" in text
    assert "secret" not in text.partition("## Base")[2].partition("## Training")[0]
    assert "licence of the file is not known" in text
    assert "its weights under" not in text
    assert metadata(sam, EXPORTED, facts)["license"] == "unknown"
    assert metadata(sam, EXPORTED, replace(facts, license="mit"))["license"] == "mit"
    assert find_hub_id(facts.base) == ""


@pytest.mark.parametrize("name", ["renamed.pth", "sam_vit_b_01ec64.pth"])
def test_the_published_file_is_known_by_its_bytes(sam, card, tmp_path, monkeypatch, name):
    """Under its own name it was compared when it was loaded, and need not be there any more."""
    file = tmp_path / name
    if name == "renamed.pth":
        file.write_bytes(b"published")
        digest = hashlib.sha256(b"published").hexdigest()
        monkeypatch.setitem(REGISTRY, "vit_b", replace(REGISTRY["vit_b"], sha256=digest))
    facts = replace(FACTS, base=BaseIdentity("vit_b", str(file), 1024, "abc"))
    assert metadata(sam, EXPORTED, facts)["license"] == "apache-2.0"
    assert f"of the file `{name}`" in card(facts)
    assert "its weights under Apache-2.0" in card(facts)
    assert find_hub_id(facts.base) == "facebook/sam-vit-base"


def test_a_file_without_a_published_hash_is_not_known(sam):
    facts = replace(FACTS, base=BaseIdentity("medsam", "medsam_vit_b.pth", 1024, "abc"))
    assert metadata(sam, EXPORTED, facts)["license"] == "unknown"


def test_it_says_what_one_has_to_know(card):
    text = card()
    for words in (
        "USE IT SO", "`a.bin`: weights", "logits: 1e-6", "It cannot fly.", "too few images",
        "scale 0.5", "lora.rank 8", "`medsam`", "box_outward 100%", "0 correction clicks",
        "channels [3, 2, 1]", "between its percentiles", "from 0 to 4000", "64 pixels",
        "folder `nuclei`", "tile 256", "Epochs: 4, seed 7", "licence: CC0", "`abc`",
        "under Apache-2.0",
    ):  # fmt: skip
        assert words in text, words


def test_folders_of_this_machine_are_not_in_it(card):
    facts = replace(FACTS, base=BaseIdentity("/home/somebody/base", "/tmp/x.pth", 64, ""))  # noqa: S108
    text = card(facts)
    assert "somebody" not in text
    assert "/tmp" not in text  # noqa: S108
    assert "`base`" in text


def test_what_is_not_known_is_not_told(card):
    text = card(Facts("m", "hf", BaseIdentity("somebody/x", "", 64, "", is_random=True)))
    assert "Nothing is known of it" in text
    assert "It was not evaluated" in text
    assert "licence is not known" in text
    assert "random start" in text
    assert "base_model" not in text


@pytest.mark.parametrize("settings", [{"model": None, "data": None}, {"data": {"recipe": "x: y"}}])
def test_settings_that_say_little_make_a_card_all_the_same(card, settings):
    assert "## Training" in card(replace(FACTS, settings=settings))


def test_damaged_figures_of_thresholds_are_told(sam, card, monkeypatch):
    fitted = FittedThresholds(MaskThresholds(), 32, {"results": {"val": {}}})
    monkeypatch.setattr(sam, "thresholds", fitted)
    with pytest.raises(UserError, match="run samtune thresholds again"):
        card()
    monkeypatch.setattr(sam, "thresholds", FittedThresholds(MaskThresholds(), 32))
    assert "32 x 32 points (`thresholds.json`" in card()
    assert "the thresholds: give it points_per_side=32" in card()
