"""The command line: `samtune COMMAND ...`. It imports a command's code only when it runs."""

import os
import sys

COMMANDS = {
    "init": "look at your data and write a config for it",
    "fit": "fine-tune a SAM on your images and masks",
    "evaluate": "compare a tuned model with its base on held-out images",
    "compare": "rank several models on the same prompts, with paired tests",
    "calibrate": "make predicted IoU mean what it says, and find thresholds for review",
    "thresholds": "find the thresholds of automatic masks that suit a tuned model",
    "scale": "find how strongly to apply an adapter: gain on your domain against what is forgotten",
    "learning-curve": "tell by tuning on parts of the data whether more of it would help",
    "predict": "segment images with points and boxes",
    "segment": "find the masks of everything in images, or objects of a scene of any size",
    "prelabel": "masks for a detector's boxes, for a labelling tool, the doubtful ones first",
    "segment-volume": "segment objects of CT and MR volumes, from a prompt on one slice",
    "cache": "compute the frozen part of the encoder for every image, before training",
    "bench": "time and memory of models on your own images",
    "data": "fetch known data sets, check data before training, convert between formats",
    "models": "list the models known by name",
    "export": "take a model along: PEFT, transformers, official .pth, ONNX, annotation tools",
}


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
    if arguments[0] not in COMMANDS:
        return _fail(f"there is no command '{arguments[0]}': choose from {', '.join(COMMANDS)}")
    return _run(arguments[0], arguments[1:])


def _run(command: str, arguments: list[str]) -> int:
    from samtune.errors import UserError

    try:
        from importlib import import_module

        module = import_module(f"samtune.commands.{command.replace('-', '_')}")
        return module.main(arguments) or 0
    except UserError as error:
        if os.environ.get("SAMTUNE_TRACEBACK"):
            raise
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fail(message: str) -> int:
    print(f"samtune: {message}", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "samtune: fine-tune Segment Anything on your own images, and see how much it helped\n\n"
        f"usage: samtune COMMAND ...\n\n{lines}\n\n"
        "samtune COMMAND --help tells more of each. SAMTUNE_TRACEBACK=1 shows where an error arose."
    )


if __name__ == "__main__":
    sys.exit(main())
