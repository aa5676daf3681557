"""Who may import whom: the table of the design, held by reading the code's imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "samtune"
# Files at the top, each of which may import those before it
TOP = (
    "errors",
    "wording",
    "ranges",
    "escaping",
    "types",
    "geometry",
    "windows",
    "locks",
    "files",
    "parsing",
    "module_files",
    "masks",
    "coco",
    "progress",
    "bars",
    "side_by_side",
    "drawing",
)
BASE = set(TOP)
INPUTS = BASE | {"images", "reading"}
LOWER = INPUTS | {"prompts", "heads", "models", "data"}
ALLOWED = {
    **{name: set(TOP[:place]) for place, name in enumerate(TOP)},
    "images": BASE,
    "reading": BASE | {"images"},
    "prompts": INPUTS,
    "heads": INPUTS,
    "models": INPUTS | {"heads"},
    "data": INPUTS | {"prompts"},
    "training": LOWER,
    "inference": LOWER,
    "exports": LOWER,
    "evaluation": LOWER | {"inference"},
    "page": LOWER | {"inference", "evaluation"},
    "tasks": LOWER | {"training", "inference", "exports", "evaluation", "page"},
    "utils": LOWER | {"inference", "exports"},
    "commands": LOWER | {"tasks", "evaluation"},
    "cli": {"errors", "bars", "commands", "tasks"},
    "__init__": set(),
}
ONLY_IN = {
    "peft": (
        "models/lora.py",
        "models/loading.py",
        "models/adapters.py",
        "models/joined.py",
        "models/backend.py",
        "models/saving.py",
        "models/strength.py",
        "models/encoder_steps.py",
    ),
    "transformers": ("models/", "tasks/opening.py"),
    "wandb": ("training/",),
    "starlette": ("page/",),
    "uvicorn": ("page/",),
    "anywidget": ("page/",),
    "torchvision": (),
    "timm": (),
}


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(path):
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module)
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


def test_files_import_only_what_stands_before_them():
    surplus = {}
    for path in FILES:
        ours = [name.split(".")[1] for name in imported_names(path) if name.startswith("samtune.")]
        if found := set(ours) - ALLOWED[room(path)] - {room(path)}:
            surplus[path] = found
    assert len(FILES) > 200
    assert surplus == {}


@pytest.mark.parametrize(("library", "places"), ONLY_IN.items())
def test_libraries_stay_in_their_rooms(library, places):
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if any(name.split(".")[0] == library for name in imported_names(path))
    ]
    assert all(user.startswith(places) for user in users) if places else users == []


def test_data_sets_folder_does_not_shadow_the_library_of_that_name():
    assert not (PACKAGE.parent / "datasets" / "__init__.py").exists()
