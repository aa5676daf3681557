"""Odd masks, and layouts that are not what they should be."""

import numpy as np
import pytest

from samtune.data.fetch.arrange import _nearest_colours, _number, arrange
from samtune.data.fetch.layout import block_of, find_pairs, group_of, read_lists
from samtune.data.fetch.recipe import Division, Layout, Part, Recipe
from samtune.errors import UserError
from tests.data.fetch.published import HW, encode, noise, square, tiff, write_folder

PART = Part(images="images/{id}.png", masks="masks/{id}_m.png")


def recipe(layout, division=None):
    return Recipe(
        title="t", licence="l", citation="c", home="h", size="s", images=1, archives=[], verified=True,
        layout=layout, division=division or Division(how="drawn"), config="",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    files = {f"x/images/{n}.png": encode(noise(n), "PNG") for n in range(4)}
    files |= {f"x/masks/{n}_m.png": encode(square(2), "PNG") for n in range(4)}
    return write_folder(tmp_path / "in", files)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_colours_go_to_the_nearest():
    pixels = np.array([[[0, 0, 0], [255, 0, 0], [240, 9, 5], [2, 250, 1], [20, 20, 20]]], np.uint8)
    classes = _nearest_colours(pixels, {"ff0000": 1, "00ff00": 2})
    assert classes.tolist() == [[0, 1, 1, 2, 0]]


def test_grey_is_a_colour_too():
    assert _nearest_colours(square()[..., None], {"ffffff": 7}).max() == 7


def test_objects_that_overlap_keep_what_came_first():
    first, second = np.zeros((2, *HW), bool)
    first[:10], second[5:20] = True, True
    labels = _number(iter((first, second)))
    assert (labels[:10] == 1).all()
    assert (labels[10:20] == 2).all()
    assert not labels[20:].any()
    with pytest.raises(UserError, match="masks of one image"):
        _number(iter((first, second[1:])))


def test_classes_are_kept_and_colours_are_none(folder, out):
    arrange(recipe(Layout(kind="classes", parts=[PART])), [folder], out, False)
    assert len(list((out / "masks").iterdir())) == 4
    (folder / "x" / "masks" / "0_m.png").write_bytes(encode(noise(0), "PNG"))
    with pytest.raises(UserError, match=r"0_m\.png holds no classes"):
        arrange(recipe(Layout(kind="classes", parts=[PART])), [folder], out, False)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("masks/1_m.png", "has no mask: expected masks/{id}_m.png"),
        ("images", "there is no image images/{id}.png"),
    ],
)
def test_what_is_missing_is_named(folder, broken, reason):
    (folder / "x" / broken).rename(folder / "x" / "elsewhere")
    with pytest.raises(UserError, match=reason.replace("{", r"\{").replace("}", r"\}")):
        find_pairs([PART], [folder])


def test_two_images_of_one_id_are_named(folder):
    write_folder(folder, {"y/images/1.png": encode(noise(1), "PNG")})
    with pytest.raises(UserError, match="are both the image 1"):
        find_pairs([PART], [folder])


def test_hidden_files_are_no_images(folder):
    write_folder(folder, {"x/images/.png": b"", "x/images/._1.png": b""})
    assert len(find_pairs([PART], [folder])) == 4


def test_a_broken_image_is_named(folder, out):
    (folder / "x" / "masks" / "2_m.png").write_bytes(encode(noise(0), "PNG")[:800])
    with pytest.raises(UserError, match=r"2_m\.png cannot be read"):
        arrange(recipe(Layout(kind="binary", parts=[PART])), [folder], out, False)


def test_names_with_spaces_and_other_letters(tmp_path, out):
    files = {f"images/größe {n}.png": encode(noise(n), "PNG") for n in range(4)}
    files |= {f"masks/größe {n}_m.png": encode(square(), "PNG") for n in range(4)}
    folder = write_folder(tmp_path / "in", files)
    arrange(recipe(Layout(kind="binary", parts=[PART])), [folder], out, False)
    assert "größe 0," in (out / "manifest.csv").read_text(encoding="utf-8")
    assert (out / "masks" / "größe 0.png").is_file()


def test_a_single_scene_is_divided_where_it_is_read(tmp_path, out):
    files = {"a/scene.tif": tiff(square()), "a/houses.geojson": b"{}", "a/other.tif": b""}
    part = Part(images="a/scene.tif", masks="a/houses.geojson", id="scene")
    folder = write_folder(tmp_path / "in", files)
    assert arrange(recipe(Layout(kind="geo", parts=[part])), [folder], out, False) == {"all": 1}
    assert {f.name for f in out.iterdir()} == {"scene.tif", "scene.geojson"}


class TestDivision:
    def test_groups_by_expression(self, folder, out):
        division = Division(how="by parity", group="([01])")
        assert group_of(division, "a1") == "1"
        with pytest.raises(UserError, match="the image 7 does not tell its group"):
            group_of(division, "7")

    @pytest.mark.parametrize(
        ("number", "group"), [("1", "1"), ("25", "1"), ("26", "2"), ("50", "2")]
    )
    def test_groups_by_number(self, number, group):
        assert group_of(Division(how="", last=[25, 50]), number) == group

    @pytest.mark.parametrize("image_id", ["51", "none"])
    def test_numbers_beyond_the_last(self, image_id):
        with pytest.raises(UserError, match=f"the image {image_id} has no number up to 50"):
            group_of(Division(how="", last=[25, 50]), image_id)

    def test_squares_of_land(self, tmp_path):
        division = Division(how="", block=0.01)
        plain, other = tmp_path / "a.tif", tmp_path / "b.tif"
        plain.write_bytes(tiff(square()))
        other.write_bytes(b"no TIFF")
        with pytest.raises(UserError, match="does not tell where it lies"):
            block_of(division, plain)
        with pytest.raises(UserError, match="cannot be read as TIFF"):
            block_of(division, other)

    def test_lists_that_contradict_or_miss(self, tmp_path, folder, out):
        division = Division(how="", lists={"train": "train.txt", "test": "test.txt"})
        with pytest.raises(UserError, match=r"no train\.txt"):
            read_lists(division, [tmp_path])
        write_folder(tmp_path / "in", {"train.txt": b"0\n1\n2\n", "test.txt": b"2\n"})
        with pytest.raises(UserError, match="2 stands in two lists"):
            read_lists(division, [folder])
        write_folder(tmp_path / "in", {"test.txt": b"3\r\n9\r\n"})
        with pytest.raises(UserError, match="9 is listed in a split"):
            arrange(recipe(Layout(kind="binary", parts=[PART]), division), [folder], out, False)

    def test_the_same_seed_draws_the_same(self, folder, tmp_path):
        texts = []
        for name in ("1", "2"):
            (tmp_path / name).mkdir()
            layout = Layout(kind="binary", parts=[PART])
            arrange(recipe(layout), [folder], tmp_path / name, False)
            texts.append((tmp_path / name / "manifest.csv").read_text())
        assert texts[0] == texts[1]
