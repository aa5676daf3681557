"""A race of recipes: the default and those of other tools, on the same base, data and time.

    python scripts/race.py --config configs/aerial/buildings_nano.yaml --data.path FOLDER --budget 5m

Each of configs/peers is laid over the data of the config; the default is the config as it is. What is
compared is what each training ends with (`fit --choose false`): with the choice at the end, one that
only loses would be kept at its base and come out even. Prints two Markdown tables: the ranking on the
test images, and what each has forgotten of drawn pictures. Runs that are there are not trained again.
"""

import sys
from pathlib import Path
from typing import Any

import torch

import samtune
from samtune.commands.flags import parse
from samtune.commands.help import help_text
from samtune.tasks.results import Rows
from samtune.tasks.settings import DataLike, data_layer, read_settings

PEERS = Path(__file__).parents[1] / "configs" / "peers"
OWN = "default"


def entrants(config: str | Path) -> dict[str, dict[str, Any]]:
    """Settings of `fit` by name: the config's own, and those of each peer on the config's data."""
    own = dict(read_settings(config))
    found = {OWN: own}
    for file in sorted(PEERS.glob("*.yaml")):
        peer = dict(read_settings(file))
        data = {**own.get("data", {}), **peer.pop("data", {})}
        found[file.stem] = {**own, **peer, "base": own["base"], "data": data}
    return found


def main(
    data: DataLike = None, *, config: str | Path, budget: str = "5m", out: str | Path = "race",
    protocols: list[str] | None = None,
) -> int:  # fmt: skip
    """Train and rank them.

    Args:
        data: folder or file, or settings of the data.
        config: of the default recipe; names the base and how the data are read.
        budget: of each training, as `fit` takes it.
        out: folder of the runs and of the ranking.
        protocols: kinds of prompts, as `compare` takes them.
    """
    torch.set_num_threads(1)
    given = data_layer(data) or {}
    racing = entrants(config)
    runs = [Path(out) / name for name in racing]
    for run, settings in zip(runs, racing.values(), strict=True):
        if not (run / "adapter").exists():
            settings = {**settings, "budget": budget, "data": {**settings["data"], **given}}
            samtune.fit(run=run, choose=False, check=False, **settings)
    asked = protocols or ["box", "point", "clicks_3"]
    ranking = samtune.compare(
        [racing[OWN]["base"], *runs], data=given, protocols=asked, out=Path(out) / "comparison"
    )
    print(markdown(ranking.tables["ranking"]), "", sep="\n")
    print(markdown([forgotten(run, asked) for run in runs]))
    return 0


def forgotten(run: Path, protocols: list[str]) -> dict[str, Any]:
    """Changes on drawn pictures; the test images were ranked already, so one of them is enough."""
    found = samtune.evaluate(
        run, max_images=1, protocols=protocols, gallery=0, out=run / "forgotten"
    )
    changes = {
        f"drawn: {row['protocol']}": f"{row['difference']:+.3f}" for row in found.tables["general"]
    }
    return {"recipe": run.name, **changes}


def markdown(rows: Rows) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *(list(map(_told, row.values())) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(f"{each:+.3f}" for each in value)
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text(main, "race", {}, True).replace("samtune race", "scripts/race.py"))
    else:
        sys.exit(main(**parse(main, "race", sys.argv[1:], {})))
