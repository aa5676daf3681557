"""`samtune data COMMAND`: work on data sets.

check     look at a data set before training: what is there, and what would spoil the result
convert   write a data set as COCO, label maps, YOLO or labelme
fetch     get a known data set, with its splits and a config; without a name, list them
"""

from samtune.commands import data_check, data_convert, data_fetch
from samtune.commands.options import quieten
from samtune.errors import UserError


def main(arguments: list[str]) -> None:
    quieten()
    commands = {
        "check": data_check.check,
        "convert": data_convert.convert,
        "fetch": data_fetch.fetch,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    if arguments[0] not in commands:
        raise UserError(
            f"there is no command 'data {arguments[0]}': choose from {', '.join(commands)}"
        )
    commands[arguments[0]](arguments[1:])
