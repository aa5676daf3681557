"""Several models on the same prompts: ranked, each tested against the best."""

from collections.abc import Mapping, Sequence
from typing import Any

from samtune.evaluation.pairing import answers_of, difference_of
from samtune.evaluation.rows import Row
from samtune.evaluation.statistics import holm, judge


def rank(
    models: Mapping[str, tuple[Sequence[Row], str]], seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Rank models by mIoU.

    Args:
        models: rows of each, and the contestant that it is there.
        seed: number that fixes the bootstrap.

    Returns:
        By protocol, and `all` for the mean over protocols: the models from the best down, each with
        `model`, `miou`, and against the best `difference`, `ci95`, `p_holm`, `verdict` (`null` for
        the best itself). The correction is for the number of models.

    Raises:
        UserError: the rows are of different objects.
    """
    first = next(iter(models.values()))[0]
    protocols = list(dict.fromkeys(row.protocol for row in first))
    return {
        protocol or "all": _rank(models, protocol, seed)
        for protocol in ("", *(protocols if len(protocols) > 1 else ()))
    }


def _rank(
    models: Mapping[str, tuple[Sequence[Row], str]], protocol: str, seed: int
) -> list[dict[str, Any]]:
    answers = {model: answers_of(rows, name, protocol) for model, (rows, name) in models.items()}
    order = sorted(answers, key=lambda model: -answers[model].miou)
    best = answers[order[0]]
    differences = [difference_of(best, answers[model], seed) for model in order[1:]]
    corrected = holm([difference.p for difference in differences])
    places: list[dict[str, Any]] = [
        {"model": order[0], "miou": best.miou, "difference": None, "ci95": None, "p_holm": None,
         "verdict": None}
    ]  # fmt: skip
    num_clusters = len(set(best.clusters))
    for model, difference, p in zip(order[1:], differences, corrected, strict=True):
        places.append(
            {
                "model": model,
                "miou": answers[model].miou,
                "difference": difference.mean,
                "ci95": None if difference.ci95 is None else list(difference.ci95),
                "p_holm": p,
                "verdict": judge(
                    difference.is_identical, difference.ci95, p, num_clusters, len(differences)
                ),
            }
        )
    return places
