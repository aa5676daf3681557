"""The command line: `samtune COMMAND ...`. A command is a task, and what is printed of its result."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        task: module and function.
        teller: in `commands/`: module and function that prints the result.
        text: in the list of commands.
        extra: flags that only the command line has.
        prepare: in the teller's module: changes the arguments before the task is called.
    """

    task: str
    teller: str
    text: str
    extra: dict[str, str] = field(default_factory=dict)
    prepare: str = ""


_YES = {"yes": "ask nothing, take the suggested answers"}
COMMANDS = {
    "init": Command("init", "data:tell_init", "look at your data and write a config for it",
                    _YES, "ask_or_not"),
    "check": Command("check", "data:tell_check", "look at a data set before training",
                     {"json": "print JSON"}),
    "convert": Command("convert", "data:tell_convert", "write a data set in another format"),
    "fetch": Command("fetch", "data:tell_fetch", "get a known data set, or list them",
                     {"yes": "do not ask"}, "agree_or_not"),
    "fit": Command("fit", "training:tell_fit", "fine-tune a SAM on your images and masks"),
    "resume": Command("fit:resume", "training:tell_fit", "go on with a run where it stopped"),
    "evaluate": Command("evaluate", "evaluating:tell_evaluate",
                        "compare a tuned model with its base on held-out images",
                        prepare="note_command"),
    "compare": Command("compare", "evaluating:tell_page",
                       "rank several models on the same prompts, with paired tests"),
    "calibrate": Command("calibrate", "evaluating:tell_saved",
                         "calibrate the scores: make predicted IoU match measured IoU"),
    "thresholds": Command("thresholds", "evaluating:tell_saved",
                          "find the thresholds of automatic masks that suit a tuned model"),
    "scale": Command("scale", "evaluating:tell_scale",
                     "find how strongly to apply an adapter"),
    "learning-curve": Command("learning_curve", "evaluating:tell_page",
                              "find out whether more training images would help"),
    "open": Command("open", "using:serve",
                    "click on images, see base and tuned side by side, keep the masks"),
    "serve": Command("serve", "using:serve",
                     "answer the clicks of Label Studio, X-AnyLabeling and CVAT"),
    "loop": Command("loop", "using:tell", "tune on what was accepted on the page, a round"),
    "predict": Command("predict", "using:tell_predict", "segment images with points and boxes"),
    "segment": Command("segment", "using:tell_segment",
                       "find the masks of everything in images, or the objects of a scene"),
    "segment-volume": Command("segment_volume", "using:tell_volume",
                              "segment objects of CT and MR volumes"),
    "prelabel": Command("prelabel", "using:tell_prelabel",
                        "masks for a detector's boxes, for a labelling tool"),
    "cache": Command("cache", "training:tell",
                     "compute the frozen part of the encoder for every image"),
    "bench": Command("bench", "training:tell_bench", "time and memory of models on your images"),
    "models": Command("models", "using:tell_models", "list the models known by name"),
    "export": Command("export", "using:tell_export",
                      "export a model: PEFT, transformers, .pth, ONNX, annotation tools"),
}  # fmt: skip
# What commands were called in samtune 0.1
MOVED = {"data": "samtune check, samtune convert and samtune fetch"}


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 where part of the work failed; 2 after a mistake of the user's, which is told in one
        line on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("samtune"))
        return 0
    if arguments[0] in MOVED:
        return _fail(f"'samtune {arguments[0]}' is {MOVED[arguments[0]]} now")
    name = arguments[0].replace("_", "-")
    if name not in COMMANDS:
        return _fail(f"there is no command '{arguments[0]}': choose from {', '.join(COMMANDS)}")
    return _guarded(name, arguments[1:])


def _guarded(name: str, arguments: list[str]) -> int:
    from samtune.errors import UserError
    from samtune.tasks.telling import told

    try:
        with told(), _ending_in_order():
            return _run(name, arguments)
    except UserError as error:
        if os.environ.get("SAMTUNE_TRACEBACK"):
            raise
        return _fail(str(error))
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(name: str, arguments: list[str]) -> int:
    from samtune.commands.flags import parse
    from samtune.commands.help import help_text

    command = COMMANDS[name]
    module, _, function = command.task.partition(":")
    task = getattr(import_module(f"samtune.tasks.{module}"), function or module)
    if wanted := {"-h", "--help", "--help-all"} & set(arguments):
        print(help_text(task, name, command.extra, "--help-all" in wanted))
        return 0
    told, _, teller = command.teller.partition(":")
    printing = import_module(f"samtune.commands.{told}")
    given = parse(task, name, arguments, command.extra)
    options = {flag: given.pop(flag, False) for flag in command.extra}
    if command.prepare:
        given = getattr(printing, command.prepare)(given, options, [name, *arguments])
        if given is None:
            return 0
    code = getattr(printing, teller)(task(**given), options)
    return int(code or 0)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """SIGTERM as Ctrl-C: what is half written is removed, and a line says that it was interrupted."""
    import signal
    import threading

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str) -> int:
    print(f"samtune: {message}", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {each.text}" for name, each in COMMANDS.items())
    return (
        "samtune: fine-tune Segment Anything on your own images, and see how much it helped\n\n"
        f"usage: samtune COMMAND ...\n\n{lines}\n\n"
        "samtune COMMAND --help explains each. Each command but models is a Python function\n"
        "too, with the same names: samtune.fit, samtune.evaluate, ... SAMTUNE_TRACEBACK=1 shows where\n"
        "an error arose."
    )


if __name__ == "__main__":
    sys.exit(main())
