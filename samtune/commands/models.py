"""`samtune models`: the models known by name, with sizes, sources and licences."""

from samtune.errors import UserError
from samtune.models.registry import models_table


def main(arguments: list[str]) -> None:
    if arguments in (["-h"], ["--help"]):
        print("usage: samtune models\n\n" + (__doc__ or ""))
        return
    if arguments:
        raise UserError(f"samtune models takes no arguments; found {arguments[0]}")
    print(models_table())
