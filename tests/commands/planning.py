"""What `samtune fit` would train, without training it."""

from samtune.commands.flags import parse
from samtune.tasks.fit import fit, gather
from samtune.tasks.train import plan


def planned(*words):
    """Trainer, model and data of the flags of `samtune fit`."""
    given = parse(fit, "fit", [str(word) for word in words], {})
    return plan(gather(given.pop("config", None), given))
