"""What CVAT's own program runs, so that a model answers in CVAT.

    cvat-cli function create-native NAME --function-module samtune.tasks.cvat_function -p model=str:RUN
    cvat-cli function run-agent ID --function-module samtune.tasks.cvat_function -p model=str:RUN

It is no command of samtune: `cvat-cli` imports this module and calls `create`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samtune.inference.settings import Focus
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_model

if TYPE_CHECKING:
    from samtune.page.tools.cvat import ClickFunction, SearchFunction


@task
def create(
    model: str,
    finds: Literal["clicks", "everything"] = "clicks",
    label: str = "object",
    focus: Focus = "auto",
    device: str = "auto",
) -> ClickFunction | SearchFunction:
    """A function of CVAT's: an interactor, or a detector.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        finds: the object of clicks and boxes, or everything in an image.
        label: of the task, that what is found everywhere has.
        focus: `auto` looks at small objects in a window around them.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: there is no such model, or CVAT's package is missing.
    """
    from samtune.page.tools.asked import Asked
    from samtune.page.tools.cvat import ClickFunction, SearchFunction

    asked = Asked(open_model(model, device=device), Path(model).resolve().name, focus)
    return ClickFunction(asked) if finds == "clicks" else SearchFunction(asked, label)
