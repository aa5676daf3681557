"""What `import samtune` offers is true, and costs little."""

import subprocess
import sys

import samtune

HEAVY = (
    "torch",
    "transformers",
    "pytorch_lightning",
    "peft",
    "albumentations",
    "cv2",
    "jsonargparse",
)


def loaded_after(code):
    script = f"import sys\n{code}\nprint('loaded', *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()[1:]


def test_every_public_name_can_be_imported():
    assert all(getattr(samtune, name) is not None for name in samtune.__all__)


def test_all_is_what_dir_shows():
    assert dir(samtune) == samtune.__all__


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(samtune, "no_such_name")


def test_help_imports_nothing_heavy():
    assert loaded_after("from samtune.cli import main\nmain(['--help'])") == []


def test_import_of_the_package_imports_nothing_heavy():
    assert loaded_after("import samtune") == []
