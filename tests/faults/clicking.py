"""Somebody at the page, who accepts a mask in picture after picture, and goes on where they left.

python -m tests.faults.clicking PICTURES OUT
"""

import sys

import numpy as np


def main(pictures: str, out: str) -> None:
    import samtune
    from samtune.inference.prelabel.placed_mask import PlacedMask

    session = samtune.open("nano", pictures, out=out).session
    for index, work in enumerate(session.works):
        if work.history.state.objects:
            continue
        mask = np.zeros((64, 64), np.bool_)
        mask[8 : 20 + index, 8:40] = True
        session.mend(index, PlacedMask.of(mask))
        session.accept(index)


if __name__ == "__main__":
    main(*sys.argv[1:])
