"""The pages hang together: links lead somewhere, what is generated is up to date, the site builds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from samtune.models.registry import models_table
from tests.integration.documents import DOCS, ROOT

PAGES = sorted(
    file
    for pattern in ("*.md", "docs/**/*.md", "configs/*/README.md", "samtune/**/README.md")
    for file in ROOT.glob(pattern)
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def prose(text):
    """Text without code, whose brackets are no links, and without comments."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("[", "").replace("]", ""), text)


def slug(heading):
    """The anchor of a heading, as the site and GitHub make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(file):
    return {slug(each) for each in re.findall(r"^#+ (.*)$", prose_of_headings(file), re.MULTILINE)}


def prose_of_headings(file):
    return re.sub(r"^(`{3,}).*?^\1", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)


def dead_links(file):
    """Relative links of a page that lead to no file or to no heading."""
    dead = []
    for link in LINK.findall(prose(file.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
        elif file.is_relative_to(ROOT / "docs") and not target.is_relative_to(ROOT / "docs"):
            dead.append(f"{link} (not on the site)")
    return dead


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file):
    assert dead_links(file) == []


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` (c)\n\n[1](page.md#a-b-c) [2](#a-b-c) [3](#no) [4](gone.md) `[5](gone.md)`\n"
        "[6](https://example.org) <!-- [7](gone.md) -->\n\n```\n[8](gone.md)\n```\n"
    )
    assert dead_links(page) == ["#no", "gone.md"]


def test_all_pages_are_in_the_menu_and_the_menu_has_no_others():
    def files(entry):
        children = entry.values() if isinstance(entry, dict) else entry
        return [entry] if isinstance(entry, str) else [f for each in children for f in files(each)]

    menu = files(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(menu) == sorted(name.removeprefix("docs/") for name in DOCS)


def test_the_reference_is_what_the_docstrings_say(load_script):
    for name, text in load_script("reference").pages().items():
        file = ROOT / "docs" / "reference" / name
        assert file.read_text() == text, f"{file} is out of date: run python scripts/reference.py"


def test_the_table_of_models_is_that_of_the_command():
    lines = DOCS["docs/models.md"].splitlines()
    for row in models_table(False):
        assert f"| {' | '.join(str(value) for value in row.values())} |" in lines


def test_the_site_builds_without_a_complaint_and_loads_nothing_from_elsewhere(tmp_path):
    builder = Path(sys.executable).with_name("zensical")
    if not builder.exists():
        pytest.skip("zensical is not installed (pip install 'samtune[docs]')")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run(
        [builder, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    built = {str(file.relative_to(tmp_path / "site")) for file in tmp_path.rglob("site/**/*.html")}
    assert built >= {name.removeprefix("docs/").replace(".md", ".html") for name in DOCS}
    for name in built:
        text = (tmp_path / "site" / name).read_text()
        loaded = re.findall(r"<(?:script|img|link)[^>]*?(?:src|href)=\"?(https?:[^\"> ]+)", text)
        assert loaded == [], name
