"""Numbers with their nouns."""

import pytest

from samtune.wording import counted


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, "object"), "0 objects"),
        ((1, "object"), "1 object"),
        ((2, "object"), "2 objects"),
        ((1200, "mask"), "1,200 masks"),
        ((1, "class", "classes"), "1 class"),
        ((3, "class", "classes"), "3 classes"),
    ],
)
def test_one_is_singular(arguments, text):
    assert counted(*arguments) == text
