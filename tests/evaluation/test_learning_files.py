"""What runs of a learning curve leave is read back, or damage is said."""

import pytest

from samtune.errors import UserError
from samtune.evaluation.learning import read_objects

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
