"""Names that would be a link, a tag, a cell or a formula stay text."""

import csv
import io

import pytest

from samtune.escaping import csv_text, markdown_block, markdown_table, markdown_text, text_of_csv

HOSTILE = [
    "<script>alert(1)</script>", "[x](javascript:1)", "a | b", "`code`", "**bold**", "&lt;", "a\\",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_a_name_as_it_is(name):
    markdown = pytest.importorskip("markdown_it")
    html = markdown.MarkdownIt("commonmark").enable("table").render(markdown_text(name))
    for tag in ("<script", "<a ", "<code", "<strong"):
        assert tag not in html
    table = (
        markdown.MarkdownIt("commonmark").enable("table").render(markdown_table(["n"], [[name]]))
    )
    assert table.count("<td") == 1


def test_markdown_text_is_one_line():
    assert markdown_text("a\n# b\r\n\n- c") == "a # b - c"
    assert markdown_text("plain_name-1.png (2)") == "plain_name-1.png (2)"


def test_a_cell_is_neither_split_nor_ended():
    assert markdown_table(["a|b"], [["1\n2"], ["|"]]) == "| a\\|b |\n| --- |\n| 1 2 |\n| \\| |"


def test_a_fence_holds_fences():
    block = markdown_block("```\n# not a heading\n````")
    assert block.startswith("`````\n")
    assert block.endswith("\n`````")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "'quoted", "plain", ""])
def test_a_formula_is_text_and_comes_back(text):
    file = io.StringIO()
    csv.writer(file).writerow([csv_text(text)])
    (cell,) = next(csv.reader(io.StringIO(file.getvalue())))
    assert not cell.startswith(("=", "+", "-", "@", "\t"))
    assert text_of_csv(cell) == text
