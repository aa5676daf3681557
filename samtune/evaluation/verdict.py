"""The sentence on top of a report, also when the answer is no."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from samtune.evaluation.forgetting import Loss
from samtune.wording import counted, signed


def _below(summaries: dict[str, Any]) -> list[str]:
    """What a model does not even reach, though it needs no network."""
    found = []
    for name, summary in summaries.items():
        floor, model = summary["trivial"], summary["tuned"] or summary["base"]
        if floor is not None and model["miou"] < floor["miou"]:
            found.append(
                f"With {name} prompts it does WORSE than no network at all: {floor['name']} "
                f"{floor['miou']:.3f} against {model['miou']:.3f}."
            )
    return found


def headline(summaries: dict[str, Any], losses: Iterable[Loss]) -> str:
    """The sentence on top of a report."""
    first = next(iter(summaries.values()))
    what = f"{counted(first['num_objects'], 'object')} in {counted(first['num_images'], 'image')}"
    if first["num_clusters"] != first["num_images"]:
        what += f" of {counted(first['num_clusters'], 'group')}"
    if first["delta"] is None:
        scores = [f"{name} {each['base']['miou']:.3f}" for name, each in summaries.items()]
        text = f"The base alone, on {what}: mIoU {', '.join(scores)}."
        return " ".join([text, *_below(summaries)])
    by_verdict: dict[str, list[str]] = {}
    for name, summary in summaries.items():
        part = f"{name} {signed(summary['delta']['miou'])}"
        by_verdict.setdefault(summary["delta"]["verdict"], []).append(part)
    if list(by_verdict) == ["identical"]:
        return f"Tuned and base answer alike on {what}: the difference is exactly 0."
    sentences = [
        f"{words} {', '.join(by_verdict[key])}"
        for key, words in (
            ("better", "the tuned model is better with"),
            ("worse", "the tuned model is WORSE than the base with"),
            ("unclear", "no difference could be shown with"),
            ("identical", "both are exactly the same with"),
            ("unknown", "there are too few independent images to be sure with"),
        )
        if key in by_verdict
    ]
    text = f"On {what}, {'; '.join(sentences)} (mIoU, tuned minus base)."
    text += "".join(f" {sentence}" for sentence in _below(summaries))
    kinds = Counter(loss.kind for loss in losses)
    lost, some = kinds["forgotten"], kinds["part"]
    if lost:
        text += f" Something was lost elsewhere ({counted(lost, 'warning')})."
    if some:
        text += f" It is worse for {counted(some, 'part')} of the data."
    return text
