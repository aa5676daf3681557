"""The end of a head's training together with the encoder: what became of the answers to prompts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.wording import counted, signed

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.evaluation.choice import Candidate

log = logging.getLogger(__name__)


def compare_prompts(data: SamDataModule, run: Path) -> str:
    """Ask a run and its base with prompts, write choice.json, and say what was lost in a sentence.

    Nothing is chosen: a head reads the encoder as it was trained, at no other strength. Whether prompts
    gained is noted with the weights, and told where they are used.

    Args:
        data: of the training; validation images and general pictures are asked about.
        run: with a head and an adapter.
    """
    from samtune.evaluation.choice import measured, with_general
    from samtune.evaluation.contestants import TUNED
    from samtune.files import write_json
    from samtune.models.loading import load_model
    from samtune.models.saving import save_tuned
    from samtune.tasks.choosing import as_plain_candidate
    from samtune.tasks.questions import answers_to, questions_of

    sam = load_model(run)
    domain, general = questions_of(_without_ignored(data), sam)
    with sam.base_weights():
        base = list(answers_to(sam, domain, what="asking the base"))
        elsewhere = list(answers_to(sam, general))
    if not base:
        return "prompts were not compared: no validation image holds an object"
    rows = list(answers_to(sam, domain, what="asking with prompts"))
    forgotten = list(answers_to(sam, general))
    found = measured("averaged", 1.0, (base, rows), TUNED, data.seed)
    found = with_general(found, (elsewhere, forgotten), TUNED, data.seed)
    sentence = sentence_of(found, len({row.key for row in base}))
    sam.is_better = found.is_better
    save_tuned(sam, run)
    told = as_plain_candidate(found) | {"is_chosen": True}
    write_json(run / "choice.json", {"sentence": sentence, "left_out": [], "candidates": [told]})
    return sentence


def _without_ignored(data: SamDataModule) -> SamDataModule:
    """The same images as prompts see them: what is ignored is no object."""
    from samtune.data.datamodule import SamDataModule

    plain = SamDataModule(data.settings)
    plain.keep_splits(data.image_ids())
    return plain


def sentence_of(found: Candidate, num_objects: int) -> str:
    """What the head's training did to prompts, and what to do where they were lost."""
    general = ", ".join(f"{name} {signed(each)}" for name, each in found.general.items())
    told = (
        f"on {counted(num_objects, 'object')} of the validation images {found.sentence}; on general "
        f"pictures {general}"
    )
    if found.is_allowed:
        return f"prompts answer about as well as the base's, or better: {told}"
    return (
        f"PROMPTS WERE LOST while the head was trained with the encoder: {told}. Ask the base with "
        "prompts instead, or train the head beside an encoder that stays as it is (model.head_encoder "
        "frozen); a higher model.loss.general or a lower model.optim.lr loses less"
    )
