"""What is printed of tasks that train, or measure what training would take."""

from typing import Any

from samtune.tasks.bench import Bench
from samtune.tasks.processes import is_first
from samtune.tasks.results import Result, markdown
from samtune.tasks.runs import Run

Arguments = dict[str, Any]


def tell(result: Result, options: Arguments) -> None:
    print(result.headline)


def tell_fit(run: Run, options: Arguments) -> None:
    if is_first():
        print(f"the run is in {run}; next: samtune evaluate {run}")


def tell_bench(result: Bench, options: Arguments) -> None:
    print(markdown(result.tables["models"]))
    print(result.headline)
