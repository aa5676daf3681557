"""What a training leaves: of several candidates the one that helps most and hurts none.

A candidate is a state of the weights at a strength. It is allowed where no kind of prompt falls by
more than `MOST_LOST` on the validation images, and none by more than `MOST_FORGOTTEN` on general
pictures; of those allowed the one with the highest mean gain is taken. Where none gains, the base is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from samtune.evaluation.pairing import answers_of, difference_of
from samtune.evaluation.rows import Row
from samtune.evaluation.statistics import Difference, holm, judge
from samtune.wording import counted, signed

# mIoU that a kind of prompt may lose: on the validation images, on general pictures.
MOST_LOST, MOST_FORGOTTEN = 0.01, 0.02
# Strengths that are asked below 1
_STRENGTHS = (0.75, 0.5, 0.25)
# What is lost falls with about this power of the strength (roads, polyps, buildings: 1.8 to 2.9)
_FALLS = 2.3
# Independent validation images below which little can be sure of others
ENOUGH = 10
# Rows of the base and of a candidate, of the same objects
Pair = tuple[Sequence[Row], Sequence[Row]]


@dataclass(frozen=True)
class Candidate:
    """What was measured of one candidate, against the base.

    Attributes:
        weights: of which moment: `last`, `best`.
        strength: of the tuning; 0 is the base, 1 all that was trained.
        domain: change by kind of prompt on the validation images.
        general: change by kind of prompt on general pictures; empty where it was not measured.
        verdicts: by kind of prompt, on the validation images, corrected for their number.
        sharpening: how much of a sharpener's answer masks get, 0 without one.
    """

    weights: str
    strength: float
    domain: Mapping[str, Difference]
    general: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)
    sharpening: float = 0.0

    @property
    def gain(self) -> float:
        """Mean over kinds of prompts."""
        return float(np.mean([each.mean for each in self.domain.values()]))

    @property
    def is_allowed(self) -> bool:
        is_kept = all(each.mean >= -MOST_LOST for each in self.domain.values())
        return is_kept and all(change >= -MOST_FORGOTTEN for change in self.general.values())

    def may_be_kept(self, best: float) -> bool:
        """Whether it is still to be taken, where another one that is allowed gains `best`.

        Where not, general pictures need not be asked: their answers cannot change the choice.
        """
        return self.is_allowed and self.gain > best

    @property
    def is_better(self) -> bool:
        """For sure with at least one kind of prompt, and for sure worse with none."""
        found = set(self.verdicts.values())
        return "better" in found and "worse" not in found

    @property
    def sentence(self) -> str:
        """Its changes by kind of prompt."""
        parts = []
        for name, each in self.domain.items():
            sure = {"better": " for sure", "worse": " for sure, WORSE"}.get(self.verdicts[name], "")
            parts.append(f"{name} {signed(each.mean)}{sure}")
        return ", ".join(parts)


def measured(
    weights: str, strength: float, domain: Pair, name: str, seed: int, sharpening: float = 0.0
) -> Candidate:
    """Compare a candidate with the base on the same prompts of the validation images.

    Args:
        weights, strength, sharpening: of the candidate.
        domain: answers of the base and of the candidate.
        name: of the contestant in all rows.
        seed: number that fixes the bootstrap.
    """
    differences = _differences(*domain, name, seed)
    clusters = len({row.cluster for row in domain[0]})
    corrected = holm([each.p for each in differences.values()])
    verdicts = {
        key: judge(each.is_identical, each.ci95, p, clusters, len(differences))
        for (key, each), p in zip(differences.items(), corrected, strict=True)
    }
    return Candidate(weights, strength, differences, {}, verdicts, sharpening)


def with_general(candidate: Candidate, general: Pair, name: str, seed: int) -> Candidate:
    """A candidate that was compared on general pictures too."""
    changes = {key: each.mean for key, each in _differences(*general, name, seed).items()}
    return replace(candidate, general=changes)


def _differences(
    base: Sequence[Row], rows: Sequence[Row], name: str, seed: int
) -> dict[str, Difference]:
    protocols = dict.fromkeys(row.protocol for row in base)
    return {
        protocol: difference_of(
            answers_of(base, name, protocol), answers_of(rows, name, protocol), seed
        )
        for protocol in protocols
    }


def next_asked(
    asked: Collection[tuple[str, float]], found: Sequence[Candidate], is_scalable: bool
) -> tuple[str, float] | None:
    """Which weights at which strength to measure next, those first that are most likely to be kept.

    What was trained may forget too much at its full strength, or gain nothing: then weaker ones come
    before other moments of the training, first the one that what was lost lets expect to be allowed,
    then weaker until one is, so that little time never ends with nothing.
    Between the strongest that is allowed and the weakest that is not lies one more to ask. Where gains
    grow from one strength to the next, weaker ones gain less still and are not asked.

    Args:
        asked: those that were asked, with an answer or without.
        found: their answers.
        is_scalable: strengths but 1 can be set.

    Returns:
        Weights and strength; `None` where all were asked.
    """
    others = [("averaged", 1.0), ("best", 1.0)]
    whole = [each for each in found if each.weights == "last" and each.strength == 1]
    is_whole_allowed = all(each.is_allowed for each in whole)
    is_whole_kept = all(each.may_be_kept(0.0) for each in whole)
    strengths = _weaker(whole, found) if is_scalable else []
    weaker = [("last", each) for each in strengths]
    weaker = [each for each in weaker if each in asked or not _gains_less(each[1], found)]
    if all(each in asked for each in weaker) and weaker and not is_whole_allowed:
        weaker.append(("last", _between(found)))
    order = [("last", 1.0), *(others + weaker if is_whole_kept else weaker + others)]
    return next((each for each in order if each not in asked), None)


def _weaker(whole: Sequence[Candidate], found: Sequence[Candidate]) -> list[float]:
    """Strengths below 1, those first that are most likely to be the strongest allowed."""
    if all(each.may_be_kept(0.0) for each in whole):
        return list(_STRENGTHS)
    last = [each for each in found if each.weights == "last" and each.is_allowed]
    allowed = [each.strength for each in last if each.strength < 1]
    start = max(allowed) if allowed else _expected(whole[0])
    above = [each for each in _STRENGTHS if each > start]
    below = [each for each in _STRENGTHS if each < start]
    # what is next to one that is allowed may be so too; before one is, only weaker ones are likely
    return [start, *reversed(above), *below] if allowed else [start, *below, *above]


def _expected(whole: Candidate) -> float:
    """The strongest that should lose no more than is allowed, by what was lost at full strength."""
    if whole.is_allowed:  # it gains nothing
        return 0.5
    lost = max(
        *(-each.mean / MOST_LOST for each in whole.domain.values()),
        *(-change / MOST_FORGOTTEN for change in whole.general.values()),
    )
    likely = [each for each in _STRENGTHS if lost * each**_FALLS <= 1]
    return max(likely, default=min(_STRENGTHS))


def _gains_less(strength: float, found: Sequence[Candidate]) -> bool:
    """Whether gains of stronger ones, of which the weakest is allowed, grow with the strength."""
    known = sorted(
        (each for each in found if each.weights == "last" and each.strength > strength),
        key=lambda each: each.strength,
    )
    return len(known) > 1 and known[0].is_allowed and known[0].gain < known[1].gain


def _between(found: Sequence[Candidate]) -> float:
    """Half way between the strongest quarter that is allowed and the next one; 0.125 without any."""
    quarters = [each for each in found if each.weights == "last" and each.strength * 4 % 1 == 0]
    return max((each.strength for each in quarters if each.is_allowed), default=0.0) + 0.125


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The allowed one that gains most; `None` keeps the base. Of equal ones the first."""
    allowed = [each for each in candidates if each.is_allowed and each.gain > 0]
    return max(allowed, key=lambda each: each.gain, default=None)


def sentence_of(chosen: Candidate | None, num_objects: int, num_clusters: int) -> str:
    """What `fit` says at its end, and what to do next where nothing is sure."""
    where = (
        f"on {counted(num_objects, 'object')} of "
        f"{counted(num_clusters, 'independent validation image')}"
    )
    if chosen is None:
        return (
            f"the base is kept: {where} all that was trained either gains nothing or makes some kind "
            "of prompt worse (checkpoints/last.ckpt holds what was trained). More images, a larger "
            "image_size, a longer budget or another base may help"
        )
    strength = "" if chosen.strength == 1 else f" at strength {chosen.strength:g}"
    sharpened = " with sharpened masks" if chosen.sharpening else ""
    what = f"the {chosen.weights} weights{strength}{sharpened} are kept"
    if not chosen.strength:
        what = "the base's own weights are kept, with sharpened masks"
    text = f"{what}; {where}: {chosen.sentence}"
    if chosen.is_better:
        return f"better than the base: {text}"
    few = " (few images: little can be sure)" if num_clusters < ENOUGH else ""
    return (
        f"NOT shown to be better than the base{few}: {text}. More images, above all of other groups, "
        "or a longer budget would show more"
    )
