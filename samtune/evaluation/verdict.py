"""Plain sentences: what an evaluation says, also when the answer is no."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from samtune.evaluation.forgetting import Loss


def verdict(name: str, summary: dict[str, Any]) -> str:
    """One sentence on a protocol."""
    base, delta = summary["base"]["miou"], summary["delta"]
    if delta is None:
        return f"{name}: the base reaches a mIoU of {base:.3f}."
    if delta["is_identical"]:
        return f"{name}: {base:.3f} for both: no object differs, the difference is exactly 0."
    tuned, interval = summary["tuned"]["miou"], delta["ci95"]
    change = f"{name}: {base:.3f} for the base, {tuned:.3f} tuned ({delta['miou']:+.3f}"
    if interval is None:
        return f"{change}; a single image or group gives no interval): too little to tell."
    change += f", 95% interval {interval[0]:+.3f} to {interval[1]:+.3f}, p {delta['p_holm']:.2g})"
    if delta["verdict"] == "better":
        return f"{change}: better."
    if delta["verdict"] == "worse":
        return f"{change}: WORSE than the base."
    if delta["verdict"] == "unknown":
        return f"{change}: {summary['num_clusters']} images or groups are too few to be sure."
    return (
        f"{change}: no difference that these images could show (they would show "
        f"{delta['smallest_detectable']:.3f} in four of five cases)."
    )


def _below(summaries: dict[str, Any]) -> list[str]:
    """What a model does not even reach, though it needs no network."""
    found = []
    for name, summary in summaries.items():
        floor, model = summary["trivial"], summary["tuned"] or summary["base"]
        if floor is not None and model["miou"] < floor["miou"]:
            found.append(
                f"With {name} it is BELOW what needs no network at all: {floor['name']}, "
                f"{floor['miou']:.3f} against {model['miou']:.3f}."
            )
    return found


def headline(summaries: dict[str, Any], losses: Iterable[Loss]) -> str:
    """The sentence on top of a report."""
    first = next(iter(summaries.values()))
    what = f"{first['num_objects']:,} objects in {first['num_images']} images"
    if first["num_clusters"] != first["num_images"]:
        what += f" of {first['num_clusters']} group{'s' * (first['num_clusters'] > 1)}"
    if first["delta"] is None:
        scores = [f"{name} {each['base']['miou']:.3f}" for name, each in summaries.items()]
        text = f"The base alone, on {what}: mIoU {', '.join(scores)}."
        return " ".join([text, *_below(summaries)])
    by_verdict: dict[str, list[str]] = {}
    for name, summary in summaries.items():
        part = f"{name} {summary['delta']['miou']:+.3f}"
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
            ("unknown", "there are too few images or groups to be sure with"),
        )
        if key in by_verdict
    ]
    text = f"On {what}, {'; '.join(sentences)} (mIoU, tuned minus base)."
    text += "".join(f" {sentence}" for sentence in _below(summaries))
    kinds = Counter(loss.kind for loss in losses)
    lost, some = kinds["forgotten"], kinds["part"]
    if lost:
        text += f" Something was lost elsewhere: see the {lost} warning{'s' * (lost > 1)}."
    if some:
        text += f" It is worse for {some} part{'s' * (some > 1)} of the data."
    return text
