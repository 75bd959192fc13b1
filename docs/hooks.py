"""Hooks of mkdocs: pages from files outside docs/, and links to them.

README.md is the front page. On GitHub its links, and those of the pages in docs/, lead to files of the
repository; on the site they lead to the pages made from these files.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/REPORT.md": "measured.md",
}
"""Pages made from files outside docs/."""

EXAMPLES = {f"examples/{path.name}": f"examples/{path.stem}.md" for path in (ROOT / "examples").glob("*.py")}
"""Pages that show an example each."""

NOTEBOOK = ("examples/notebook.ipynb", "examples/notebook.md")
"""The notebook with its outputs, and its page."""

PLOTS = {
    f"benchmarks/results/{path.name}": f"plots/{path.name}"
    for path in (ROOT / "benchmarks/results").glob("*.svg")
}

FOLDERS = {
    "docs/clouds": "clouds/aws.md",
    "docs/reference": "reference/opendalfs.md",
    "benchmarks": "benchmarks.md",
    "examples": "examples/quickstart.md",
}
"""Pages that links to folders lead to."""

HIDDEN = {"index.md": ["navigation"], "architecture.md": ["toc"]}
"""Parts that some pages leave out: the first page has no others beside it, the drawings need their width."""

TARGETS = {**PAGES, **EXAMPLES, **PLOTS, **FOLDERS, NOTEBOOK[0]: NOTEBOOK[1]}
SOURCES = {page: source for source, page in (PAGES | EXAMPLES).items()}

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s:#]+)(#[^()\s]*)?\)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages and plots that are made from files outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for source, page in EXAMPLES.items():
        code = (ROOT / source).read_text(encoding="utf-8")
        title = Path(source).name
        files.append(File.generated(config, page, content=f"# {title}\n\n```python\n{code}```\n"))
    text = notebook_page(json.loads((ROOT / NOTEBOOK[0]).read_text(encoding="utf-8")))
    files.append(File.generated(config, NOTEBOOK[1], content=text))
    for source, plot in PLOTS.items():
        files.append(File.generated(config, plot, abs_src_path=str(ROOT / source)))
    return files


def notebook_page(notebook: dict[str, Any]) -> str:
    """Return the cells of a notebook and their outputs as Markdown.

    Parameters
    ----------
    notebook : dict
        A notebook of Jupyter. Of an output with several forms the HTML is used.
    """
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                # Markdown takes an empty line for the end of a block.
                lines = "".join(data["text/html"]).splitlines()
                parts.append("\n".join(["<div>", *(line for line in lines if line.strip()), "</div>"]))
            else:
                text = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the text of a page with links that hold on the site."""
    page.meta.setdefault("hide", HIDDEN.get(page.file.src_uri, []))
    return site_links(markdown, page.file.src_uri)


def site_links(markdown: str, page: str) -> str:
    """Replace links to files of the repository by links to pages of the site.

    Parameters
    ----------
    markdown : str
        Text of the page.
    page : str
        Path of the page below docs/, or its name on the site if it is made from another file.

    Returns
    -------
    str
        The text. A link to a file that is not on the site becomes its path, as code. A link whose text is the
        path of a page has the title of that page instead.
    """
    source = SOURCES.get(page, f"docs/{page}")

    def replace(match: re.Match[str]) -> str:
        image, text, path, anchor = match.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        found = TARGETS.get(target)
        if found is None and target.startswith("docs/"):
            found = target.removeprefix("docs/")
        if found is None:
            return text if text.startswith("`") else f"{text} (`{target}`)"
        if text.endswith(".md"):
            text = _title(found) or text
        link = posixpath.relpath(found, posixpath.dirname(page) or ".")
        return f"{image}[{text}]({link}{anchor or ''})"

    # Blocks of code stay as they are.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else _LINK.sub(replace, part) for i, part in enumerate(parts))


def _title(page: str) -> str | None:
    """Return the first heading of a page of the site, without its part after a colon."""
    source = ROOT / SOURCES.get(page, f"docs/{page}")
    found = re.match(r"# ([^:\n]*)", source.read_text(encoding="utf-8")) if source.exists() else None
    return found and found[1]
