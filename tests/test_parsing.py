"""Text files of any origin become plain values, or one line that says what is wrong."""

import pytest

from samtune.errors import UserError
from samtune.parsing import read_csv, read_json, read_yaml


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


@pytest.mark.parametrize("content", [b"a,b\n1\n", b"a,b\n1,2,3\n", b"a,b\n\xff,2\n"])
def test_tables_that_are_damaged_are_said(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.csv (is damaged: row 1|cannot be read as a table)"):
        read_csv(tmp_path / "a.csv")


def test_tables_are_read_by_column(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n1,"x\ny"\n,z\n')
    assert read_csv(tmp_path / "a.csv") == [{"a": "1", "b": "x\ny"}, {"a": "", "b": "z"}]
