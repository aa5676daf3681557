"""Uploading an export to the Hugging Face Hub, where the user has a token."""

from pathlib import Path
from typing import Any

from samtune.errors import UserError, first_line, require


def require_target(repo_id: str, is_dry: bool = False) -> None:
    """Make sure before any work that there is a place, and a token, to push to.

    Raises:
        UserError: the name is none of a repository, or there is no token.
    """
    hub = require("huggingface_hub", "hub")
    try:
        hub.utils.validate_repo_id(repo_id)
    except hub.errors.HFValidationError as error:
        raise UserError(f"--push {repo_id}: expected USER/NAME ({error})") from error
    if repo_id.count("/") != 1:
        raise UserError(f"--push {repo_id}: expected USER/NAME")
    if not is_dry and not hub.get_token():
        raise UserError(
            "--push needs a token of the Hugging Face Hub: run hf auth login, or set HF_TOKEN "
            "(--dry_run shows what would be uploaded without one)"
        )


def listing(folder: Path) -> str:
    """Every file with its size, and the sum."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path: path.stat().st_size for path in files}
    lines = [f"{_size(size):>10}  {path.relative_to(folder)}" for path, size in sizes.items()]
    return "\n".join([*lines, f"{_size(sum(sizes.values())):>10}  in all"])


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def push(folder: Path, repo_id: str, is_private: bool, message: str) -> str:
    """Upload a folder as one commit; large files are sent piece by piece.

    Returns:
        Address of the repository.

    Raises:
        UserError: the Hub refuses, or cannot be reached.
    """
    hub = require("huggingface_hub", "hub")
    api: Any = hub.HfApi()
    try:
        address = api.create_repo(repo_id, private=is_private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
    except Exception as error:  # the hub's client raises what its transport makes it do
        raise UserError(
            f"{folder} is written, but {repo_id} could not be uploaded to ({first_line(error)}): "
            f"hf upload {repo_id} {folder} tries again"
        ) from error
    return str(address)
