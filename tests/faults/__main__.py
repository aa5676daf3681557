"""Kill long commands at moments that nobody chose, and see that the same call ends as it would have.

    scripts/kills [--kills 40] [--minutes 20] [--seed 0] [--times 2] [--only CALL ...]

A finding is whatever differs in the end from two calls that nobody disturbed: an error, a file that is
missing, left behind, or of other bytes.
"""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.calls import write_inputs
from tests.faults.kills import KILLED, Killing


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if there was any finding."""
    parser = argparse.ArgumentParser("scripts/kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=40, help="after so many no more are begun")
    parser.add_argument("--minutes", type=float, default=20.0, help="nor after so long")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--times", type=int, default=2, help="that a call is killed before it may end"
    )
    parser.add_argument("--only", nargs="+", choices=KILLED, default=list(KILLED))
    given = parser.parse_args(arguments)
    until, kills, findings = time.monotonic() + 60 * given.minutes, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs"
        write_inputs(inputs)
        killing = Killing(inputs, Path(folder), given.seed)
        for call in itertools.cycle(given.only):
            if kills >= given.kills or time.monotonic() > until:
                break
            met, wrong = killing.kill(call, given.times)
            kills, findings = kills + met, findings + bool(wrong)
            print(f"{call}: {met} kills, {wrong or 'the same in the end'}", flush=True)
    print(f"{kills} kills, {findings} findings")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
