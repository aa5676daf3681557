"""Rows divided by class, size, contrast and the columns of the manifest."""

import pytest

from samtune.evaluation.breakdown import divide


def sizes(parts):
    return {name: len(part) for name, part in parts.items()}


def test_thirds_by_size_and_contrast_name_their_limits(make_row):
    rows = [make_row(f"{n}", 0.5, 0.6, area=n, contrast=n / 10) for n in range(1, 13)]
    ways = divide(rows)
    assert sizes(ways["size"]) == {"up to 5 px": 4, "5 px to 8 px": 4, "over 8 px": 4}
    assert sizes(ways["contrast"]) == {"up to 0.47": 4, "0.47 to 0.83": 4, "over 0.83": 4}


def test_equal_sizes_stay_together(make_row):
    rows = [make_row(f"{n}", 0.5, area=7) for n in range(20)]
    assert "size" not in divide(rows)


def test_few_objects_have_no_thirds(make_row):
    rows = [make_row(f"{n}", 0.5, area=n) for n in range(1, 12)]
    assert divide(rows) == {}


def test_columns_that_tell_kinds_are_taken_and_names_of_images_are_not(make_row):
    rows = [
        make_row(
            f"{n}", 0.5,
            columns=(
                ("stain", "he" if n % 2 else "ihc"), ("split", "test"), ("scan", f"scan{n}"),
                ("grade", str(n % 3)), ("width", str(100 + n)),
            ),
        )
        for n in range(11)
    ]  # fmt: skip
    ways = divide(rows)
    assert ways.keys() == {"stain", "grade"}
    assert sizes(ways["stain"]) == {"he": 5, "ihc": 6}


def test_the_few_groups_that_images_are_clustered_by_are_parts_too(make_row):
    rows = [
        make_row(f"{n}", 0.5, cluster="abcd"[n % 4], columns=(("site", "abcd"[n % 4]),))
        for n in range(11)
    ]
    assert divide(rows)["site"].keys() == set("abcd")


@pytest.mark.parametrize("name", ["size", "class"])
def test_a_column_named_like_our_own_stands_beside_it(make_row, name):
    rows = [
        make_row(
            f"{n}", 0.5, area=n + 1, class_name="xy"[n % 2], columns=((name, "ab"[n % 2]),)
        )
        for n in range(12)
    ]  # fmt: skip
    ways = divide(rows)
    assert name in ways
    assert sizes(ways[f"column {name}"]) == {"a": 6, "b": 6}
