"""The pages that people read, and what stands in their code blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCS = {
    str(file.relative_to(ROOT)): file.read_text() for file in sorted((ROOT / "docs").rglob("*.md"))
}
RECIPES = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in sorted(ROOT.glob("configs/*/README.md"))
}


def blocks(text, language=r"\w*"):
    """Code blocks, fenced or indented."""
    fenced = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [*fenced, *re.findall(r"(?:^    \S.*\n)+", text, re.MULTILINE)]


def commands(text):
    """The samtune commands of the code blocks, each in a line and without comments."""
    found = []
    for line in "\n".join(blocks(text)).replace("\\\n", " ").splitlines():
        for part in re.sub(r"\s#.*", "", line).split("&&"):
            told = re.sub(r"^torchrun .*? -m samtune\.cli ", "samtune ", part.strip())
            if told.startswith("samtune "):
                found.append(" ".join(told.split()))
    return found
