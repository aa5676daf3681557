import pytest

from samtune.data.manifest import Manifest
from samtune.errors import UserError


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_manifest_without_commas_is_told_its_columns(tmp_path, separator):
    (tmp_path / "manifest.csv").write_text(separator.join(["file", "split"]) + "\n")
    with pytest.raises(UserError, match=r"one column 'file.{1,3}split'.*'file,split'"):
        Manifest(tmp_path)


def test_an_image_twice_in_a_manifest_is_named_with_both_rows(tmp_path):
    file = tmp_path / "manifest.csv"
    file.write_text("id,split,site\na,train,x\nb,val,x\na,train,x\n")
    assert list(Manifest(tmp_path).rows) == ["a", "b"]
    file.write_text("id,split,site\na,train,x\nb,val,x\na,test,x\n")
    said = r"'a' twice, with another split: 'train' in line 2, 'test' in line 4; leave one"
    with pytest.raises(UserError, match=said):
        Manifest(tmp_path)


def test_a_manifest_may_have_a_byte_order_mark_and_short_rows(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbfid,split\na,train\nb\n")
    rows = Manifest(tmp_path).rows
    assert rows == {"a": {"id": "a", "split": "train"}, "b": {"id": "b", "split": ""}}


def test_a_manifest_that_is_no_text_is_named(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"id,split\n\xff\xfe,x\n")
    with pytest.raises(UserError, match=r"manifest\.csv cannot be read as CSV"):
        Manifest(tmp_path)


def test_without_a_manifest_there_are_no_rows(tmp_path):
    assert Manifest(tmp_path).rows == {}
    (tmp_path / "manifest.csv").touch()
    assert Manifest(tmp_path).rows == {}
