import os
import stat

import pytest

from samtune.errors import UserError
from samtune.files import (
    make_folder,
    partial_folder,
    read_json,
    read_yaml,
    replacing_folder,
    require_new,
    try_writing,
    unfinished,
    write_bytes,
    write_json,
    write_text,
)


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
    def refuse(**_):
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


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.json does not exist"):
        read_json(tmp_path / "gone.json")


def test_broken_json_is_named_with_its_line(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1,\n "b": }')
    with pytest.raises(UserError, match=r"a\.json cannot be read as JSON: .*line 2 column 7"):
        read_json(tmp_path / "a.json")


def test_json_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(UserError, match=r"a\.json cannot be read as JSON"):
        read_json(tmp_path / "a.json")


def test_a_folder_is_no_json_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_json(tmp_path)


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


class TestYaml:
    @pytest.fixture
    def written(self, tmp_path):
        def write(text):
            (tmp_path / "a.yaml").write_text(text)
            return tmp_path / "a.yaml"

        return write

    def test_aliases_are_written_out(self, written):
        text = "all: &all {lr: 1, rank: 8}\none: *all\ntwo: {<<: *all, rank: 4}\n"
        content = read_yaml(written(text))
        assert content["one"] == {"lr": 1, "rank": 8}
        assert content["two"] == {"lr": 1, "rank": 4}

    @pytest.mark.timeout(20)
    def test_aliases_of_aliases_are_refused_at_once(self, written):
        lines = ['a0: &a0 ["lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol"]']
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
        with pytest.raises(UserError, match=r"a\.yaml .*aliases stand for more than 1,000,000"):
            read_yaml(written("\n".join(lines)))

    def test_an_alias_that_holds_itself_is_refused(self, written):
        with pytest.raises(UserError, match="an alias stands for what it lies in"):
            read_yaml(written("a: &a [1, *a]"))

    def test_code_is_not_run(self, written):
        with pytest.raises(UserError, match=r"a\.yaml cannot be read as YAML"):
            read_yaml(written("a: !!python/object/apply:os.getcwd []"))

    def test_an_empty_file_holds_nothing(self, written):
        assert read_yaml(written("")) is None


def test_a_folder_is_had_by_one_process(tmp_path):
    import subprocess
    import sys

    from samtune.files import locked

    pytest.importorskip("fcntl")
    code = "import sys; from pathlib import Path; from samtune.files import locked\n"
    code += "with locked(Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with locked(tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "is open in another samtune" in done.stderr
    assert subprocess.run(command, check=False).returncode == 0
