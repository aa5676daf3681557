"""Uploading to the Hub, against a client that stands for it."""

import huggingface_hub
import pytest

from samtune.errors import UserError
from samtune.exports.push import listing, push, require_target


class Hub:
    """Remembers what it is asked."""

    calls: list
    error = None

    def create_repo(self, repo_id, **settings):
        self.calls.append(("create", repo_id, settings))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, **settings):
        if self.error:
            raise self.error
        self.calls.append(("upload", settings))


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(Hub, "calls", [], raising=False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    return Hub


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "base" / "w.bin").write_bytes(bytes(2_500_000))
    return tmp_path


def test_a_folder_is_one_commit_of_a_repository(hub, folder):
    assert push(folder, "me/it", True, "an export") == "https://huggingface.co/me/it"
    assert hub.calls == [
        ("create", "me/it", {"private": True, "exist_ok": True}),
        ("upload", {"repo_id": "me/it", "folder_path": folder, "commit_message": "an export"}),
    ]


def test_a_refusal_is_one_line_that_says_how_to_go_on(hub, folder, monkeypatch):
    monkeypatch.setattr(Hub, "error", OSError("403 Forbidden\nwith details"))
    with pytest.raises(
        UserError, match=r"is written, but .*403 Forbidden.*hf upload me/it"
    ) as info:
        push(folder, "me/it", False, "x")
    assert "details" not in str(info.value)


def test_without_a_token_it_stops_before_the_work(hub, monkeypatch):
    require_target("me/it")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UserError, match="needs a token"):
        require_target("me/it")
    require_target("me/it", is_dry=True)


@pytest.mark.parametrize("name", ["it", "a/b/c", "me/..", "-/x y", "", "me/" + "x" * 200])
def test_names_of_no_repository(hub, name):
    with pytest.raises(UserError, match="USER/NAME"):
        require_target(name)


def test_the_listing_has_every_file_and_the_sum(folder):
    lines = listing(folder).splitlines()
    assert [line.split() for line in lines] == [
        ["0.0", "kB", "README.md"],
        ["2.5", "MB", "base/w.bin"],
        ["2.5", "MB", "in", "all"],
    ]
