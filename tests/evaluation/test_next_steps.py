"""What to do next follows from what was found."""

import pytest

from samtune.evaluation.next_steps import next_steps


def results(*verdicts, warnings=(), num_clusters=4):
    protocols = {
        f"kind_{number}": {
            "delta": verdict and {"verdict": verdict, "smallest_detectable": 0.02},
            "num_clusters": num_clusters,
        }
        for number, verdict in enumerate(verdicts)
    }
    about = {"model": "runs/my run", "data": "my data"}
    return {"protocols": protocols, "about": about, "warnings": list(warnings)}


def said(*verdicts, **more):
    return [str(step) for step in next_steps(results(*verdicts, **more))]


def test_a_base_alone_is_to_be_tuned():
    assert said(None)[0] == (
        "Tune it on your images, then evaluate the run: "
        "samtune init 'my data' --base 'runs/my run' --out mine.yaml"
    )


def test_what_is_better_is_used():
    steps = said("better")
    assert steps[0] == (
        "Click through your images with it: samtune open 'runs/my run' FOLDER_OF_IMAGES"
    )
    assert len(steps) == 2


def test_where_images_are_too_few_it_says_how_many_are_needed():
    assert said("unknown", "unknown")[0] == (
        "Add held-out images: 4 independent images cannot show whether it is better, it takes 7 or "
        "more."
    )
    assert "1 independent image cannot" in said("unknown", num_clusters=1)[0]


def test_where_nothing_was_shown_it_says_what_would_have_been():
    assert "a smaller difference than 0.020" in said("unclear", num_clusters=9)[0]


def test_what_is_worse_is_not_recommended():
    steps = said("worse")
    assert steps[0].startswith("Use the base with kind_0 prompts")
    assert not any("samtune open" in step for step in steps)


def test_a_run_that_kept_its_base_is_trained_longer():
    assert said("identical") == [
        "Train longer (a larger --budget) or on more images: this run changes nothing."
    ]


@pytest.mark.parametrize("verdict", ["better", "unclear"])
def test_images_that_were_trained_on_come_first(verdict):
    steps = said(verdict, warnings=["not held out: 3 of 4 images were used in training"])
    assert steps[0] == "Evaluate on images that nothing was trained or calibrated on."
