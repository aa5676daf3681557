"""What an evaluation says in words, also when the answer is no."""

from samtune.evaluation.forgetting import Loss
from samtune.evaluation.verdict import headline


def summary_of(base, tuned, interval, says, **more):
    delta = {
        "miou": tuned - base, "ci95": interval, "verdict": says, "p_holm": 0.01,
        "smallest_detectable": 0.03, "is_identical": says == "identical",
    }  # fmt: skip
    return {
        "base": {"miou": base}, "tuned": {"miou": tuned}, "delta": delta, "num_objects": 1200,
        "num_images": 30, "num_clusters": 30, "trivial": None, **more,
    }  # fmt: skip


ALONE = {
    "base": {"miou": 0.5}, "tuned": None, "delta": None,
    "num_objects": 3, "num_images": 2, "num_clusters": 2, "trivial": None,
}  # fmt: skip


def test_the_headline_says_where_it_is_better_and_where_worse():
    summaries = {
        "box": summary_of(0.5, 0.4, [-0.2, -0.05], "worse"),
        "point": summary_of(0.5, 0.6, [0.05, 0.2], "better"),
        "mask": summary_of(0.5, 0.51, [-0.05, 0.2], "unclear"),
    }
    assert headline(summaries, [Loss("forgotten", "a"), Loss("part", "b"), Loss("part", "c")]) == (
        "On 1,200 objects in 30 images, the tuned model is better with point +0.100; the tuned model "
        "is WORSE than the base with box -0.100; no difference could be shown with mask +0.010 "
        "(mIoU, tuned minus base). Something was lost elsewhere (1 warning). It is worse for 2 parts "
        "of the data."
    )


def test_the_headline_of_identical_models_says_exactly_zero():
    same = summary_of(0.5, 0.5, [0.0, 0.0], "identical")
    assert headline({"box": same, "point": same}, []) == (
        "Tuned and base answer alike on 1,200 objects in 30 images: the difference is exactly 0."
    )


def test_the_headline_tells_of_groups():
    grouped = summary_of(0.5, 0.6, [0.05, 0.2], "better", num_clusters=4)
    assert "in 30 images of 4 groups" in headline({"box": grouped}, [])


def test_the_headline_of_a_base_alone():
    assert headline({"box": ALONE}, []) == (
        "The base alone, on 3 objects in 2 images: mIoU box 0.500."
    )


def test_a_model_below_what_needs_no_network_is_told():
    floor = {"name": "ellipse in the box", "miou": 0.7}
    tuned = headline({"box": summary_of(0.5, 0.625, [0.06, 0.19], "better", trivial=floor)}, [])
    assert (
        "With box prompts it does WORSE than no network at all: ellipse in the box 0.700" in tuned
    )
    above = headline({"box": summary_of(0.5, 0.725, [0.06, 0.19], "better", trivial=floor)}, [])
    assert "WORSE" not in above
    assert "WORSE" in headline({"box": ALONE | {"trivial": floor}}, [])
