"""`samtune segment` on a georeferenced scene, from the command line."""

import numpy as np
import pytest

from samtune.cli import main
from samtune.inference.automatic.generator import AutomaticMaskGenerator

rasterio = pytest.importorskip("rasterio")
raw = pytest.importorskip("pyogrio.raw")
shapely = pytest.importorskip("shapely")


@pytest.fixture
def scene(tmp_path):
    """Bright discs on a dark 16-bit scene, with boxes around two of them."""
    y, x = np.mgrid[:160, :200]
    image = np.full((3, 160, 200), 300, np.uint16)
    boxes = []
    for cy, cx, radius in [(50, 60, 25), (100, 140, 30)]:
        image[:, np.hypot(y - cy, x - cx) < radius] = 2500
        corners = np.array([cx - radius, cy + radius, cx + radius, cy - radius]) * [2, -2, 2, -2]
        boxes.append(shapely.box(*(corners + np.array([5e5, 6e6, 5e5, 6e6]))))
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", count=3, height=160, width=200, dtype="uint16",
        crs="EPSG:32632", transform=rasterio.Affine(2, 0, 500_000, 0, -2, 6_000_000),
    ) as file:  # fmt: skip
        file.write(image)
    raw.write(
        tmp_path / "boxes.gpkg", shapely.to_wkb(np.array(boxes)),
        [np.array(["silo", "tank"], object)], ["kind"], geometry_type="Polygon", crs="EPSG:32632",
    )  # fmt: skip
    return tmp_path / "s.tif"


def run(*arguments):
    return main(["segment", "nano", *map(str, arguments), "--device", "cpu"])


def test_prompts_of_a_vector_file_become_polygons(scene, tmp_path, capsys):
    out = tmp_path / "o.gpkg"
    prompts = (
        "--prompts",
        tmp_path / "boxes.gpkg",
        "--scene.class_column",
        "kind",
        "--reading.tile",
        "128",
    )
    assert run(scene, "-o", out, *prompts) == 0
    assert "2 objects of 2 prompts" in capsys.readouterr().out
    meta, _, shapes, columns = raw.read(out)
    found = dict(zip(meta["fields"], columns, strict=True))
    assert found["class"].tolist() == ["silo", "tank"]
    assert found["area_m2"] == pytest.approx(np.pi * np.array([25, 30]) ** 2 * 4, rel=0.25)
    assert shapely.is_valid(shapely.from_wkb(shapes)).all()


def test_automatic_masks_become_labels_of_the_same_grid(scene, tmp_path, capsys):
    out = tmp_path / "o.tif"
    loose = (
        "--search.pred_iou_thresh",
        "0.3",
        "--search.stability_score_thresh",
        "0.3",
        "--search.points_per_side",
        "6",
    )
    assert run(scene, "--out", out, *loose, "--reading.tile", "128", "--scene.cog") == 0
    with rasterio.open(out) as file, rasterio.open(scene) as source:
        assert (file.crs, file.transform) == (source.crs, source.transform)
        assert file.read(1).max() >= 1
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert run(scene, "--out", out, *loose) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{scene}", "{scene}", "-o", "a.gpkg"), "holds one scene: 2"),
        (("{scene}", "--prompts", "boxes.gpkg"), "is for scenes: give out as FILE.gpkg"),
        (("{scene}", "-o", "{tmp}/a.parquet"), "is not written: give .gpkg"),
        (("{scene}", "-o", "{scene}", "--overwrite"), "is what is read"),
        (
            ("{scene}", "-o", "{tmp}/boxes.gpkg", "--prompts", "{tmp}/boxes.gpkg", "--overwrite"),
            "is what is read",
        ),
        (("{scene}", "-o", "{tmp}/d.gpkg", "--overwrite"), "is a folder"),
        (
            ("{scene}", "-o", "{tmp}/a.gpkg", "--scene.class_column", "kind"),
            "scene.class_column and scene.layer are of prompts",
        ),
        (("{scene}", "-o", "{tmp}/a.gpkg", "--overlay"), "is for images"),
        (
            (
                "{scene}",
                "-o",
                "{tmp}/a.gpkg",
                "--prompts",
                "{tmp}/boxes.gpkg",
                "--search.crop_n_layers",
                "1",
            ),
            "search.crop_n_layers is for a search without prompts",
        ),
        (
            ("{scene}", "-o", "{tmp}/a.gpkg", "--reading.tile", "64", "--overlap", "64"),
            "below the tile",
        ),
        (("{scene}", "-o", "{tmp}/a.gpkg", "--scene.simplify", "-1"), "of at least 0"),
        (("{tmp}/none.tif", "-o", "{tmp}/a.gpkg"), "cannot be read as a raster"),
        (("{scene}", "-o", "{tmp}/a.gpkg", "--prompts", "{tmp}/no.gpkg"), "cannot be read as vec"),
        (("{scene}", "-o", "{tmp}/a.gpkg", "--prompts", "{tmp}/empty.json"), "nothing to go by"),
        (("{scene}", "-o", "{scene}/a.gpkg"), "a.gpkg cannot be written"),
    ],
)
def test_mistakes_are_one_line(scene, tmp_path, capsys, arguments, said):
    (tmp_path / "d.gpkg").mkdir()
    (tmp_path / "empty.json").write_text('{"type": "FeatureCollection", "features": []}')
    before = scene.read_bytes(), (tmp_path / "boxes.gpkg").read_bytes()
    filled = [argument.format(scene=scene, tmp=tmp_path) for argument in arguments]
    assert run(*filled) == 2
    assert said in capsys.readouterr().err
    assert before == (scene.read_bytes(), (tmp_path / "boxes.gpkg").read_bytes())


def test_a_replaced_file_stays_until_an_interrupted_run_has_gone_on(
    scene, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "o.geojson"
    arguments = (
        scene,
        "-o",
        out,
        "--search.points_per_side",
        "2",
        "--reading.tile",
        "64",
        "--overlap",
        "0",
    )
    out.write_text("an earlier one")
    calls, search = [], AutomaticMaskGenerator.search

    def interrupted(self, image):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return search(self, image)

    monkeypatch.setattr(AutomaticMaskGenerator, "search", interrupted)
    assert run(*arguments, "--overwrite") == 2  # interrupted
    assert out.read_text() == "an earlier one"
    assert run(*arguments, "--overwrite") == 0
    assert len(calls) == 12 + 1
    assert "features" in out.read_text()
