"""Who may import whom: the table of the design, held by reading the code's imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "samtune"
BASE = {"types", "errors", "files", "result_store", "geometry", "outlines", "drawing"}
LOWER = BASE | {"prompts", "models", "data"}
ALLOWED = {
    "types": set(),
    "errors": set(),
    "files": {"errors"},
    "result_store": {"errors", "files"},
    "geometry": {"types"},
    "outlines": {"types"},
    "drawing": {"types"},
    "prompts": BASE,
    "models": BASE,
    "data": BASE | {"prompts"},
    "training": LOWER,
    "inference": LOWER,
    "export": LOWER,
    "evaluation": LOWER | {"inference"},
    "commands": LOWER | {"training", "inference", "export", "evaluation"},
    "cli": {"errors", "commands"},
    "__init__": set(),
}
ONLY_IN = {
    "peft": (
        "models/lora.py",
        "models/loading.py",
        "models/backend.py",
        "models/saving.py",
        "models/scale.py",
        "models/encoder_steps.py",
    ),
    "transformers": ("models/", "commands/options.py"),
    "wandb": ("training/",),
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


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_what_stands_before_it(path):
    ours = [name.split(".")[1] for name in imported_names(path) if name.startswith("samtune.")]
    surplus = set(ours) - ALLOWED[room(path)] - {room(path)}
    assert not surplus


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
