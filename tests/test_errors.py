import json

import pytest

from samtune.errors import UserError, require


def test_an_installed_package_is_imported():
    assert require("json", "geo") is json


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    with pytest.raises(UserError, match=r"'no_such_package', .*pip install 'samtune\[geo\]'"):
        require("no_such_package", "geo")


def test_a_users_error_is_a_value_error():
    assert issubclass(UserError, ValueError)


def test_what_a_damaged_file_puts_into_it_is_cut():
    text = str(UserError("a.txt lists " + "x" * 10_000 + ": take it out"))
    assert len(text) < 1000
    assert text.startswith("a.txt lists x")
    assert text.endswith("x: take it out")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("two\n  lines\r\nand a third\n", "two lines and a third"),
        ("a\x1b[31m.png", r"a\x1b[31m.png"),
        ("\u202egnp.a", r"\u202egnp.a"),
        ("half \ud800 of one", r"half \ud800 of one"),
        ("drei Äpfel 苹果 🙂", "drei Äpfel 苹果 🙂"),
    ],
)
def test_it_is_one_line_of_what_can_be_seen(message, line):
    assert str(UserError(message)) == line
    line.encode()
