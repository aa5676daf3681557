"""`samtune fetch` as a user meets it."""

import sys

import msgspec
import pytest
import yaml

from samtune.cli import main
from samtune.data.fetch.recipe import Recipe, read_recipe, recipe_names
from tests.data.fetch import published


@pytest.fixture
def kvasir(web, tmp_path, monkeypatch):
    """The recipe of Kvasir-SEG, whose archive lies on the server of the test."""
    archive = published.kvasir_seg(tmp_path)[0]
    web.files["/kvasir-seg.zip"] = archive.read_bytes()
    facts = msgspec.to_builtins(read_recipe("kvasir_seg"))
    facts["archives"][0]["url"] = f"{web.address}/kvasir-seg.zip"
    changed = msgspec.convert(facts, Recipe)
    monkeypatch.setattr("samtune.data.fetch.recipe.read_recipe", lambda name: changed)
    monkeypatch.chdir(tmp_path)
    return archive


def run(*arguments):
    return main(["fetch", *map(str, arguments)])


def test_without_a_name_it_lists_licence_and_size(capsys):
    assert run() == 0
    told = capsys.readouterr().out
    for name in recipe_names():
        line = next(line for line in told.splitlines() if line.startswith(f"{name} "))
        assert read_recipe(name).licence in line
        assert read_recipe(name).size in line
    assert "fetched by hand" in told


def test_fetched_arranged_and_the_next_step_is_told(kvasir, capsys, tmp_path):
    assert run("kvasir_seg") == 0
    told = capsys.readouterr().out
    assert "images: train 6, val 2, test 2" in told
    assert "no sha256 is published" in told
    assert "the published set has 1000 images, this one has 10" in told
    assert told.splitlines()[-1] == "next: samtune fit --config data/kvasir_seg/config.yaml"
    folder = tmp_path / "data" / "kvasir_seg"
    names = {f.name for f in folder.iterdir()}
    assert names == {"images", "masks", "manifest.csv", "config.yaml", "README.txt"}
    config = (folder / "config.yaml").read_text()
    assert config.startswith("# samtune fit --config data/kvasir_seg/config.yaml")
    assert yaml.safe_load(config)["data"]["path"] == str(folder)
    assert "research and education only" in (folder / "README.txt").read_text()
    assert "sha256" in (folder / "README.txt").read_text()


def test_the_licence_is_told_before_the_first_request(kvasir, capsys, web, monkeypatch):
    told = []

    def fetch(archive, folder):
        told.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr("samtune.data.fetch.download.fetch_archive", fetch)
    assert run("kvasir_seg", "--yes") == 2
    assert web.requests == []
    for fact in ("research and education only", "Jha et al.", "simula.no", "46 MB", "unverified:"):
        assert fact in told[0]


@pytest.mark.parametrize(("answer", "fetches"), [("y", True), ("", False), ("n", False)])
def test_on_a_terminal_it_asks(kvasir, capsys, web, monkeypatch, answer, fetches, tmp_path):
    asked = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: (asked.append(question), answer)[1])
    assert run("kvasir_seg") == 0
    assert len(asked) == 1
    assert bool(web.requests) == fetches == (tmp_path / "data").exists()


def test_with_yes_or_files_of_ones_own_it_does_not_ask(kvasir, monkeypatch, web):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.delattr("builtins.input")
    assert run("kvasir_seg", "--yes", "--out", "1") == 0
    num_requests = len(web.requests)
    assert run("kvasir_seg", "--archives", kvasir, "--out", "2") == 0
    assert len(web.requests) == num_requests


def test_what_is_there_is_replaced_only_with_overwrite(kvasir, capsys, tmp_path):
    folder = tmp_path / "data" / "kvasir_seg"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    assert run("kvasir_seg", "--archives", kvasir) == 2
    assert "is there already: give another --out, or --overwrite" in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]
    assert run("kvasir_seg", "--archives", kvasir, "--overwrite") == 0
    assert (folder / "config.yaml").is_file()
    assert not (folder / "mine.txt").exists()


def test_an_interrupted_download_goes_on_with_the_next_call(kvasir, capsys, web, tmp_path):
    web.cut = 5000
    assert run("kvasir_seg") == 2
    assert "goes on from there" in capsys.readouterr().err
    assert not (tmp_path / "data" / "kvasir_seg").exists()
    web.cut = None
    assert run("kvasir_seg") == 0
    assert web.requests[-1] == ("/kvasir-seg.zip", "bytes=5000-")


def test_nothing_is_left_of_a_failure(kvasir, capsys, web, tmp_path):
    web.files["/kvasir-seg.zip"] = web.files["/kvasir-seg.zip"][:3000]
    assert run("kvasir_seg") == 2
    assert "samtune: " in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_where_a_form_stands_before_it_the_way_is_told(capsys, web, tmp_path):
    assert run("drive", "--out", tmp_path / "out") == 2
    told = capsys.readouterr()
    assert "citation:" in told.out
    assert "Register at the home page" in told.err
    assert "samtune fetch drive --archives ARCHIVE_OR_FOLDER" in told.err
    assert "\n" not in told.err.strip()


def test_another_archive_than_the_published_one_is_said(tmp_path, capsys):
    given = published.landcover_ai(tmp_path)
    assert run("landcover_ai", "--out", tmp_path / "out", "--archives", *given) == 0
    assert "but dd448287ff3a" in capsys.readouterr().out


def test_single_files_of_a_page_become_one_data_set(web, tmp_path, monkeypatch, capsys):
    folder = published.massachusetts_roads(tmp_path)[0]
    facts = msgspec.to_builtins(read_recipe("massachusetts_roads"))
    for archive in facts["archives"]:
        archive["index"] = f"{web.address}/{archive['name']}/index.html"
        names = sorted(f.name for f in (folder / archive["name"]).iterdir())
        page = "".join(f'<a href="{name}">{name}</a>' for name in names)
        web.files[f"/{archive['name']}/index.html"] = page.encode()
        for name in names:
            content = (folder / archive["name"] / name).read_bytes()
            web.files[f"/{archive['name']}/{name}"] = content
    recipe = msgspec.convert(facts, Recipe)
    monkeypatch.setattr("samtune.data.fetch.recipe.read_recipe", lambda name: recipe)
    assert run("massachusetts_roads", "--out", tmp_path / "out") == 0
    assert "images: train 5, val 2, test 3" in capsys.readouterr().out
    assert len(list((tmp_path / "cache").rglob("*.tiff"))) == 10  # they stay for the next call


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["kvasir"], "no data set 'kvasir'"),
        (["drive", "--archives", "nowhere.zip"], "no archive or folder nowhere.zip"),
        (["drive", "--out", "."], ". is there already"),
        (["drive", "--fast"], "unknown option --fast"),
    ],
)
def test_mistakes_are_one_line(arguments, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").touch()
    assert run(*arguments) == 2
    message = capsys.readouterr().err.strip()
    assert reason in message
    assert "\n" not in message
