"""What runs of a learning curve leave is read back, or damage is said."""

import numpy as np
import pytest

from samtune.errors import UserError
from samtune.evaluation.learning import read_objects, would_more_help
from samtune.evaluation.learning_heads import head_curve

HEAD = "image_id,object_id,protocol,base_iou,tuned_iou,cluster\n"


def test_ious_by_object(tmp_path):
    (tmp_path / "objects.csv").write_text(HEAD + "a,1,box,0.5,0.75,a\n")
    found = read_objects(tmp_path / "objects.csv")["box"]
    assert found.base == {("a", "1"): 0.5}
    assert found.tuned == {("a", "1"): 0.75}
    assert found.cluster == {("a", "1"): "a"}


@pytest.mark.parametrize("content", [HEAD + "a,1,box,x,0.75,a\n", "image_id\na\n", HEAD + "a\n"])
def test_a_damaged_file_is_said(tmp_path, content):
    (tmp_path / "objects.csv").write_text(content)
    with pytest.raises(UserError, match=r"objects\.csv is damaged"):
        read_objects(tmp_path / "objects.csv")


def write(folder, lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def scores(folder, *values, groups="abcdef"):
    lines = [f"{n},{groups[n]},{value}" for n, value in enumerate(values)]
    return write(folder, ["image,group,head mSA", *lines])


def test_a_heads_score_is_the_mean_over_images_and_seeds(tmp_path):
    files = {
        5: [scores(tmp_path / "a", 0.6, 0.8), scores(tmp_path / "b", 0.4, 0.8)],
        1: [scores(tmp_path / "c", 0.1, 0.3), scores(tmp_path / "d", 0.1, 0.3)],
    }
    curves = head_curve("instances", files)
    (points,) = curves.values()
    assert list(curves) == ["instances: mSA"]
    assert [point.num_images for point in points] == [1, 5]
    assert points[1].score == pytest.approx(0.65)
    assert points[1].by_seed == pytest.approx([0.7, 0.6])
    low, high = points[1].ci95
    assert low < 0.65 < high
    sentence = would_more_help(curves)
    assert sentence.startswith(
        "instances: mSA: 0.650 with 5 images, +0.450 from 1 to 5: still rising"
    )


def test_images_of_one_group_have_no_interval(tmp_path):
    (points,) = head_curve("instances", {1: [scores(tmp_path, 0.6, 0.8, groups="aa")]}).values()
    assert points[0].ci95 is None
    assert points[0].row["95% interval"] is None


def test_macro_f1_of_classes_worked_out_by_hand(tmp_path):
    lines = ["image,group,object,class,found,probability"]
    lines += ["0,a,1,cell,cell,0.9", "0,a,2,cell,hair,0.9", "1,b,1,hair,hair,0.9"]
    (points,) = head_curve("classes", {2: [write(tmp_path, lines)]}).values()
    # F1 of cells 2 * 1 / (2 + 0 + 1), of hairs 2 * 1 / (2 + 1 + 0)
    assert points[0].score == pytest.approx(2 / 3)
    low, high = points[0].ci95
    # image b alone has nothing but its right hair
    assert (low, high) == pytest.approx((1 / 3, 1), abs=0.35)
    assert high == 1


@pytest.mark.parametrize("content", ["image\n0\n", "image,group,head mSA\n0,a,x\n"])
def test_a_damaged_table_is_said(tmp_path, content):
    (tmp_path / "instances.csv").write_text(content)
    with pytest.raises(UserError, match="delete them and call again"):
        head_curve("instances", {1: [tmp_path / "instances.csv"]})


def test_the_interval_of_a_plain_mean_is_that_of_the_other_measures(tmp_path):
    from samtune.evaluation.statistics import bootstrap_interval

    values = [0.1, 0.5, 0.6, 0.9]
    (points,) = head_curve("instances", {1: [scores(tmp_path, *values)]}).values()
    assert points[0].ci95 == bootstrap_interval(np.array(values), np.array(list("abcd")), 0)
