"""Try what samtune reads with damaged input, for so many seconds.

    scripts/fuzz [--seconds 60] [--seed 0] [--only NAME ...]

A finding is whatever is neither read nor refused in a line: a traceback, a hang, an abort, memory
beyond a limit, a number that is none. Each case has a seed of its own; `--only NAME --seed SEED
--seconds 0` repeats one.
"""

import argparse
import itertools
import sys
import time

from tests.fuzzing.cases import Cases
from tests.fuzzing.subjects import SUBJECTS


def main(arguments=None):
    """Returns 1 if there was any finding."""
    parser = argparse.ArgumentParser("scripts/fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="to go on; 0 for one case")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--only", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS))
    given = parser.parse_args(arguments)
    began, seen = time.monotonic(), dict[str, int]()
    with Cases() as cases:
        for number in itertools.count():
            name, seed = given.only[number % len(given.only)], given.seed + number
            problem, done = cases.run(name, seed)
            if problem and problem not in seen:
                print(f"--only {name} --seed {seed}: {problem} ({done})", flush=True)
            if problem:
                seen[problem] = seen.get(problem, 0) + 1
            if time.monotonic() - began >= given.seconds:
                break
    print(f"{number + 1} cases, {sum(seen.values())} findings, {len(seen)} of them different")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
