"""Downloads from a server of this machine: whole, broken off, refused, changed, moved, damaged."""

import hashlib
import subprocess
import sys

import pytest
import tqdm.auto

from samtune.data.fetch import download as module
from samtune.data.fetch.download import cache_folder, digest_of, download, fetch_archive
from samtune.data.fetch.recipe import Archive
from samtune.data.fetch.wheels import download_wheel
from samtune.errors import UserError

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def target(tmp_path):
    return tmp_path / "a.zip"


@pytest.fixture
def url(web):
    web.files["/a.zip"] = CONTENT
    return f"{web.address}/a.zip"


def archive(url, **facts):
    return Archive(name="a.zip", url=url, **facts)


def test_a_file_arrives_whole_and_alone(url, target):
    download(url, target)
    assert target.read_bytes() == CONTENT
    assert [file.name for file in target.parent.iterdir()] == ["a.zip"]


def test_progress_counts_bytes_and_knows_the_end(url, target, web, monkeypatch):
    bars = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **{**settings, "disable": False, "leave": False})
            bars.append(self)

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    target.with_name("a.zip.part").write_bytes(CONTENT[:1000])
    download(url, target)
    assert (bars[0].initial, bars[0].n, bars[0].total) == (1000, len(CONTENT), len(CONTENT))


def test_it_goes_on_where_the_connection_broke(url, target, web):
    web.cut = 700_000
    with pytest.raises(UserError, match="broke off after 700,000 of 1,280,000 bytes"):
        download(url, target)
    assert not target.exists()
    web.cut = None
    download(url, target)
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted in web.requests] == [None, "bytes=700000-"]


def test_it_breaks_off_more_than_once(url, target, web):
    web.cut = 500_000
    for _ in range(2):
        with pytest.raises(UserError, match="broke off"):
            download(url, target)
    download(url, target)
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(url, target, web):
    web.cut, web.with_ranges = 700_000, False
    with pytest.raises(UserError, match="broke off"):
        download(url, target)
    web.cut = None
    download(url, target)
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_starts_over(url, target, web):
    web.cut = 700_000
    with pytest.raises(UserError, match="broke off"):
        download(url, target)
    web.cut, web.tag, web.files["/a.zip"] = None, '"2"', CONTENT[::-1]
    download(url, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_what_was_complete_before_the_last_rename_is_taken(url, target):
    target.with_name("a.zip.part").write_bytes(CONTENT)
    download(url, target)
    assert target.read_bytes() == CONTENT


def test_what_is_longer_than_the_file_is_forgotten(url, target):
    target.with_name("a.zip.part").write_bytes(CONTENT + b"more")
    download(url, target)
    assert target.read_bytes() == CONTENT


def test_it_follows_redirects_with_the_range(url, target, web):
    web.moved["/old"] = url
    target.with_name("a.zip.part").write_bytes(CONTENT[:10])
    download(f"{web.address}/old", target)
    assert target.read_bytes() == CONTENT
    assert web.requests == [("/old", "bytes=10-"), ("/a.zip", "bytes=10-")]


def test_a_redirect_cannot_read_files_of_this_machine(target, web, tmp_path):
    (tmp_path / "secret").write_text("secret")
    web.moved["/old"] = (tmp_path / "secret").as_uri()
    with pytest.raises(UserError, match="answers 302"):
        download(f"{web.address}/old", target)
    assert not target.exists()


def test_addresses_of_files_are_refused(target, tmp_path):
    with pytest.raises(UserError, match="no address of the web"):
        download((tmp_path / "x").as_uri(), target)


def test_a_missing_file_says_where_to_look(target, web):
    with pytest.raises(UserError, match=r"404 Not Found.*--archives"):
        download(f"{web.address}/nowhere", target)
    assert list(target.parent.iterdir()) == []


def test_a_server_that_is_not_there(target):
    with pytest.raises(UserError, match="could not be fetched"):
        download("http://127.0.0.1:9/a.zip", target)


def test_a_full_disk_is_said_before(url, target, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="make room"):
        download(url, target)


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_hashes_are_checked(url, tmp_path, kind):
    good = hashlib.new(kind, CONTENT).hexdigest()
    file = fetch_archive(archive(url, **{kind: good}), tmp_path / "cache")
    assert digest_of(file, kind) == good
    wrong = archive(url, **{kind: "0" * len(good)})
    with pytest.raises(UserError, match=f"has {kind} {good} instead of 000.*deleted.*--archives"):
        fetch_archive(wrong, tmp_path / "cache")
    assert not file.exists()


def test_sizes_are_checked(url, tmp_path):
    fetch_archive(archive(url, size=len(CONTENT)), tmp_path / "cache")
    with pytest.raises(UserError, match="1,280,000 bytes instead of 5"):
        fetch_archive(archive(url, size=5), tmp_path / "cache")


def test_what_is_in_the_cache_is_not_fetched_again(url, tmp_path, web):
    for _ in range(2):
        fetch_archive(archive(url), tmp_path / "cache")
    assert len(web.requests) == 1


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SAMTUNE_CACHE")
    assert cache_folder().parts[-3:] == (".cache", "samtune", "downloads")


class TestIndex:
    @pytest.fixture
    def index(self, web):
        web.files |= {f"/sat/{name}.tiff": name.encode() for name in ("1", "2")}
        web.files["/sat/index.html"] = (
            b'<a href="http://elsewhere.test/sat//1.tiff">one</a> <A HREF="2.tiff">two</A>'
            b'<a href="../3.txt">no image</a> <a href="..%2f.tiff">leads out</a><a>none</a>'
        )
        return Archive(name="train/sat", index=f"{web.address}/sat/index.html", suffix=".tiff")

    def test_all_files_beside_the_page_are_fetched_once(self, index, tmp_path, web):
        for _ in range(2):
            folder = fetch_archive(index, tmp_path / "cache")
        assert {f.name: f.read_text() for f in folder.iterdir()} == {"1.tiff": "1", "2.tiff": "2"}
        assert [path for path, _ in web.requests].count("/sat/1.tiff") == 1

    def test_a_page_without_files_or_none_at_all(self, index, tmp_path, web):
        web.files["/sat/index.html"] = b"<html>moved<![ broken"
        with pytest.raises(UserError, match=r"links to no file \*\.tiff"):
            fetch_archive(index, tmp_path / "cache")
        del web.files["/sat/index.html"]
        with pytest.raises(UserError, match="answers 404"):
            fetch_archive(index, tmp_path / "cache")


class TestWheels:
    @pytest.fixture
    def pip(self, monkeypatch):
        """Stands in for pip: notes its arguments, and writes a wheel into the folder it was given."""
        calls = []

        def run(command, **settings):
            calls.append(command)
            (tmp := command[command.index("--dest") + 1])
            if "absent==1" not in command:
                with open(f"{tmp}/some-1-py3-none-any.whl", "wb") as file:  # noqa: PTH123
                    file.write(b"wheel")
            failed = "absent==1" in command
            return subprocess.CompletedProcess(command, int(failed), "", "ERROR: x\nERROR: no such")

        monkeypatch.setattr("samtune.data.fetch.wheels.subprocess.run", run)
        return calls

    def test_the_wheel_is_put_where_it_is_wanted(self, pip, tmp_path):
        wheel = Archive(name="some.whl", wheel="some==1", pip=["--abi", "cp311"])
        file = fetch_archive(wheel, tmp_path / "cache")
        assert file.read_bytes() == b"wheel"
        assert [f.name for f in file.parent.iterdir()] == ["some.whl"]
        assert pip[0][:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:", "--abi", "some==1"} <= set(pip[0])

    def test_what_pip_says_last_is_told(self, pip, tmp_path):
        with pytest.raises(UserError, match=r"pip could not download absent==1: ERROR: no such"):
            download_wheel("absent==1", [], tmp_path / "x.whl")
