"""What is printed of tasks on data sets, and what is asked before them."""

import json
import sys
from typing import Any

from samtune.tasks.check import Check
from samtune.tasks.convert import Conversion
from samtune.tasks.fetch import Fetched, known_sets
from samtune.tasks.init import Proposal
from samtune.tasks.results import markdown

Arguments = dict[str, Any]


def tell_convert(result: Conversion, options: Arguments) -> None:
    for note in result.notes:
        print(f"NOTE: {note}", file=sys.stderr)
    print(result.headline)


def ask_or_not(given: Arguments, options: Arguments, words: list[str]) -> Arguments:
    """Questions are put where somebody is there to answer."""
    is_asked = not options["yes"] and sys.stdin.isatty()
    return {**given, "ask": ask if is_asked else None}


def ask(question: str, answers: list[str], default: str) -> str:
    """Ask until one of the answers is given; nothing takes the default."""
    while True:
        given = input(f"{question} [{'/'.join(answers)}] ({default}) ").strip() or default
        if given in answers:
            return given
        print(f"please one of: {', '.join(answers)}")


def tell_init(result: Proposal, options: Arguments) -> None:
    print(result.headline)


def tell_check(result: Check, options: Arguments) -> int:
    from samtune.evaluation.report.data_page import score_sentence

    if options["json"]:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        print(markdown(result.tables["splits"]))
        print(score_sentence(result.base_score))
        if result.epoch:
            print(result.epoch)
        if result.certainty:
            print(f"NOTE: {result.certainty}")
        for finding in result.findings:
            print(f"{finding['level'].upper()}: {finding['text']}")
        print(f"page: {result.page}")
        print(result.found.sentence)
    return int(result.verdict == "errors")


def agree_or_not(given: Arguments, options: Arguments, words: list[str]) -> Arguments | None:
    """Without a name the data sets are listed; terms are asked where somebody is there."""
    if "name" not in given:
        print(_listed())
        return None
    is_asked = not options["yes"] and sys.stdin.isatty()
    return {**given, "agree": _agrees if is_asked else None}


def _agrees() -> bool:
    return input("fetch it under these terms? [y/N] ").strip().lower() in ("y", "yes")


def _listed() -> str:
    lines = [
        f"{each['data set']:<25}{each['size'] + '*' * each['by hand']:<9}{each['licence']}"
        for each in known_sets()
    ]
    last = "* to be fetched by hand; samtune fetch NAME says how"
    return "\n".join([f"{'data set':<25}{'size':<9}licence", *lines, last])


def tell_fetch(result: Fetched | None, options: Arguments) -> None:
    print("nothing was fetched" if result is None else result.headline)
