import numpy as np

from samtune.prompts.seeding import object_rng


def first_draw(*parts):
    return object_rng(*parts).random()


def test_the_same_parts_give_the_same_stream():
    np.testing.assert_array_equal(object_rng(3, "a", 7).random(9), object_rng(3, "a", 7).random(9))


def test_the_stream_is_the_same_on_every_machine():
    drawn = object_rng(0, "image", 5, "box").integers(1000, size=4)
    assert drawn.tolist() == [445, 336, 125, 623]


def test_every_part_changes_the_stream():
    draws = [
        first_draw(0, 0, "a", 1, "box"),
        first_draw(1, 0, "a", 1, "box"),
        first_draw(0, 1, "a", 1, "box"),
        first_draw(0, 0, "b", 1, "box"),
        first_draw(0, 0, "a", 2, "box"),
        first_draw(0, 0, "a", 1, "point"),
    ]
    assert len(set(draws)) == len(draws)


def test_the_order_of_parts_and_where_they_end_matter():
    assert first_draw("a", "b") != first_draw("b", "a")
    assert first_draw("ab", "c") != first_draw("a", "bc")
    assert first_draw(1, 23) != first_draw(12, 3)


def test_neighbouring_seeds_are_unrelated():
    draws = np.array([first_draw(seed, "x") for seed in range(2000)])
    assert abs(draws.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.1
