import os
import shutil
import stat

import pytest

from samtune import files
from samtune.errors import UserError
from samtune.files import (
    drop_folder,
    find_called,
    is_file,
    is_folder,
    make_folder,
    partial_folder,
    replacing_folder,
    require_new,
    sweep,
    try_writing,
    unfinished,
    watching_folders,
    write_bytes,
    write_json,
    write_text,
)
from samtune.parsing import read_json


@pytest.fixture
def umask_027():
    before = os.umask(0o027)
    yield
    os.umask(before)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("place", ["file", "file/inner/x"])
def test_a_file_where_a_folder_should_be_is_a_user_s_error(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="nothing can be written into a folder"):
        write_bytes(tmp_path / place / "a.txt", b"x")
    with (
        pytest.raises(UserError, match="give another name"),
        replacing_folder(tmp_path / place / "a"),
    ):
        pass
    with pytest.raises(UserError, match="file"):
        make_folder(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"
    assert names_in(tmp_path) == ["file"]


def test_a_folder_that_refuses_files_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        write_bytes(tmp_path / "a.txt", b"x")
    with pytest.raises(UserError, match="Permission denied"), replacing_folder(tmp_path / "b"):
        pass


def write_half(folder):
    with replacing_folder(folder) as new:
        (new / "new.txt").write_text("new")
        raise RuntimeError("half way")


def test_bytes_are_written_into_new_folders(tmp_path):
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\xff"


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    write_bytes(tmp_path / "c.bin", b"a long old content")
    write_bytes(tmp_path / "c.bin", b"new")
    assert (tmp_path / "c.bin").read_bytes() == b"new"
    assert names_in(tmp_path) == ["c.bin"]


def test_a_failed_write_leaves_no_temporary_file(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_bytes(tmp_path / "taken", b"x")
    assert names_in(tmp_path) == ["taken"]
    assert (tmp_path / "taken").is_dir()


@pytest.mark.usefixtures("umask_027")
def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    write_bytes(tmp_path / "c.bin", b"x")
    assert stat.S_IMODE((tmp_path / "c.bin").stat().st_mode) == 0o640


@pytest.mark.usefixtures("umask_027")
def test_a_replaced_folder_has_the_permissions_of_any_new_folder(tmp_path):
    with replacing_folder(tmp_path / "run"):
        pass
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "t.txt", "Zellkern µ")
    assert (tmp_path / "t.txt").read_bytes() == "Zellkern µ".encode()


def test_json_is_indented_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"k": [1]})
    assert (tmp_path / "a.json").read_text() == '{\n  "k": [\n    1\n  ]\n}\n'
    assert read_json(tmp_path / "a.json") == {"k": [1]}


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == 1
    assert names_in(tmp_path) == ["a.json"]


def test_a_folder_appears_when_its_block_ends(tmp_path):
    target = tmp_path / "deep" / "run"
    with replacing_folder(target) as folder:
        (folder / "a.txt").write_text("a")
        assert not target.exists()
    assert (target / "a.txt").read_text() == "a"
    assert names_in(tmp_path / "deep") == ["run"]


def test_a_replaced_folder_keeps_nothing_of_the_old_one(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.txt").write_text("old")
    with replacing_folder(tmp_path / "run") as folder:
        (folder / "new.txt").write_text("new")
        assert names_in(tmp_path / "run") == ["old.txt"]
    assert names_in(tmp_path / "run") == ["new.txt"]
    assert names_in(tmp_path) == ["run"]


def test_an_error_in_the_block_leaves_the_old_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.txt").write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        write_half(tmp_path / "run")
    assert names_in(tmp_path) == ["run"]
    assert (tmp_path / "run" / "old.txt").read_text() == "old"


def test_an_error_in_the_block_leaves_no_new_folder(tmp_path):
    with pytest.raises(RuntimeError, match="half way"):
        write_half(tmp_path / "run")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_there_is_refused_unless_it_is_to_be_replaced_or_a_run_goes_on(tmp_path, is_folder):
    place = tmp_path / "a.tif"
    require_new(place, is_replaced=False)
    if is_folder:
        place.mkdir()
        require_new(place, is_replaced=False)  # an empty one is nothing
        (place / "a.txt").touch()
    else:
        place.touch()
    with pytest.raises(UserError, match=r"a\.tif is there already: give another --out"):
        require_new(place, is_replaced=False)
    require_new(place, is_replaced=True)
    assert partial_folder(place) == tmp_path / "a.tif.partial"
    partial_folder(place).mkdir()
    require_new(place, is_replaced=False)
    assert place.exists()


@pytest.mark.parametrize(
    ("is_begun", "is_broken", "is_left"),
    [(False, False, False), (True, False, False), (False, True, False), (True, True, True)],
)
def test_a_folder_half_written_is_marked_so_that_the_same_call_may_go_on(
    tmp_path, is_begun, is_broken, is_left
):
    out = tmp_path / "deep" / "out"

    def work():
        with unfinished(out):
            assert partial_folder(out).is_dir()
            if is_begun:
                write_bytes(out / "a.png", b"x")
            if is_broken:
                raise KeyboardInterrupt

    if is_broken:
        with pytest.raises(KeyboardInterrupt):
            work()
    else:
        work()
    assert partial_folder(out).exists() == is_left
    if is_left:
        require_new(out, is_replaced=False)


def test_trying_makes_the_folder_and_leaves_nothing_in_it(tmp_path):
    try_writing(tmp_path / "a" / "b" / "c.json")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("place", ["file/c.json", "x" * 251 + ".json", "file/a/c.json"])
def test_what_cannot_be_written_is_told_in_a_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^\S+\.json cannot be written: [A-Z][a-z ]+$"):
        try_writing(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_never_absent_while_it_is_replaced(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a" / "old", b"x")

    def refuse(*_):
        raise AssertionError("the folder was moved away")

    if not files._exchange(tmp_path, tmp_path):
        pytest.skip("this system cannot exchange names")
    with replacing_folder(tmp_path / "a") as new:
        write_bytes(new / "new", b"y")
        monkeypatch.setattr(files.Path, "rename", refuse)
    assert names_in(tmp_path / "a") == ["new"]
    assert names_in(tmp_path) == ["a"]


def test_where_names_cannot_be_exchanged_the_folder_is_replaced_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    write_bytes(tmp_path / "a" / "old", b"x")
    with replacing_folder(tmp_path / "a") as new:
        write_bytes(new / "new", b"y")
    assert names_in(tmp_path / "a") == ["new"]
    assert names_in(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_swept_away_and_nothing_else(tmp_path):
    kept = [".a.json.tmp", "b.12345678.tmp", ".hidden", "a.json"]
    for name in (*kept, ".a.json.abcd1234.tmp"):
        write_bytes(tmp_path / "out" / name, b"x")
    (tmp_path / ".out.abcd1234.tmp").mkdir()
    (tmp_path / ".other.abcd1234.tmp").mkdir()
    sweep(tmp_path / "out", seconds=60)
    assert (tmp_path / "out" / ".a.json.abcd1234.tmp").exists()
    sweep(tmp_path / "out")
    assert names_in(tmp_path / "out") == sorted(kept)
    assert names_in(tmp_path) == [".other.abcd1234.tmp", "out"]


def test_a_folder_that_vanishes_during_a_task_is_told_and_not_made_anew(tmp_path):
    with watching_folders():
        write_bytes(tmp_path / "out" / "a", b"x")
        shutil.rmtree(tmp_path / "out")
        with pytest.raises(UserError, match="was removed while it was written into"):
            write_bytes(tmp_path / "out" / "b", b"x")
    write_bytes(tmp_path / "out" / "b", b"x")  # another task


def test_a_folder_that_has_served_its_time_may_come_again(tmp_path):
    with watching_folders():
        for _ in range(2):
            make_folder(tmp_path / "out.partial")
            drop_folder(tmp_path / "out.partial")


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "a\0b/c"])
def test_names_that_no_file_can_have_are_of_none(tmp_path, name):
    assert not is_file(tmp_path / name)
    assert not is_folder(tmp_path / name)
    assert find_called(tmp_path / name) is None
