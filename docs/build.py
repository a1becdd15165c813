"""Build the pages and open them: ``python docs/build.py``; needs ``pip install -e '.[docs]'``.

The sources of a build lie in ``build/docs/source``: the pages of this folder, ``figures/``, the
notebooks, and what is written from the package, the reference and the gallery. Notebooks come with
their outputs from the folder that ``--executed`` names, or as they are committed; one that has no
outputs is run, and kept for the next build. Warnings are errors.
"""

import argparse
import importlib.util
import sys
import webbrowser
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "docs"
sys.path[:0] = [str(HERE), str(ROOT)]
NEEDED = ("sphinx", "numpydoc", "myst_nb", "furo", "latex2mathml")


def write(path, content):
    """Write bytes where they differ from what lies there, so that Sphinx reads what is new."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def notebooks(executed=None):
    """Return path below ``notebooks/`` -> (file, whether it has been run)."""
    folder, found = ROOT / "notebooks", {}
    for path in sorted(folder.rglob("*.ipynb")):
        name = path.relative_to(folder)
        if not any(part.startswith(".") for part in name.parts):
            ran = executed and executed / name
            own = ran if ran and ran.exists() else path
            found[name] = own, '"execution_count": 1' in own.read_text()
    return found


def assemble(source, executed=None):
    """Put the sources together in a folder; return the notebooks that need no run."""
    import gallery
    import reference

    files = {"figures" / path.relative_to(ROOT / "figures"): path
             for path in (ROOT / "figures").rglob("*") if path.is_file()}  # fmt: skip
    found = notebooks(executed)
    files |= {"notebooks" / name: path for name, (path, _) in found.items()}
    contents = {name: path.read_bytes() for name, path in files.items()}
    # `../figures/` is right in the repository, where readers open these pages too
    contents |= {
        Path(page.name): page.read_text().replace("](../", "](").encode()
        for page in HERE.glob("*.md")
    }
    contents |= {Path(name): text.encode() for name, text in reference.pages().items()}
    contents |= {Path(name): content for name, content in gallery.files().items()}
    for old in source.rglob("*"):
        if old.is_file() and old.relative_to(source) not in contents:
            old.unlink()
    for name, content in contents.items():
        write(source / name, content)
    return [f"notebooks/{name.as_posix()}" for name, (_, ran) in found.items() if ran]


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python docs/build.py", description=__doc__)
    parser.add_argument("--no-open", action="store_true", help="do not open the pages")
    parser.add_argument(
        "--executed", metavar="FOLDER", type=Path, help="notebooks with their outputs"
    )
    arguments = parser.parse_args(argv)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return refuse(f"the pages need {', '.join(missing)}: pip install -e '.[docs]'")
    if arguments.executed is not None and not arguments.executed.is_dir():
        return refuse(
            f"--executed is {str(arguments.executed)!r}, but it must be a folder of notebooks that "
            "have been run"
        )
    source, html = BUILD / "source", BUILD / "html"
    if failed := sphinx(source, html, assemble(source, arguments.executed)):
        return failed
    if found := faults(html):
        print("\n".join(found), file=sys.stderr)
        return 1
    print(f"pages: {html / 'index.html'}")
    if not arguments.no_open:
        webbrowser.open((html / "index.html").as_uri())
    return 0


def sphinx(source, html, ran):
    """Build the pages, without running the notebooks in ``ran``; returns the exit code."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    settings = {
        "nb_execution_excludepatterns": ran,
        "nb_execution_cache_path": str(BUILD / "cache"),
    }
    with patch_docutils(str(HERE)), docutils_namespace():
        app = Sphinx(
            source, HERE, html, BUILD / "doctrees", "html", settings, status=None,
            warningiserror=True,
        )  # fmt: skip
        app.build(force_all=True)  # a page's menu shows all other pages
    return app.statuscode


class Page(HTMLParser):
    """What an HTML page links to, and the places in it that can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places, self.nameless = set(), set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        """Note links, names and pictures without a text in their place."""
        found = dict(attributes)
        self.places.add(found.get("id"))
        self.links |= {found[key] for key in ("href", "src") if found.get(key)}
        if tag == "img" and found.get("alt") in (None, "", found.get("src")):
            self.nameless.append(found.get("src"))


def faults(html):
    """Return sentences on links within the pages that lead nowhere, and pictures without a text."""
    pages = {path.resolve(): Page(path) for path in html.rglob("*.html")}
    found = []
    for path, page in pages.items():
        name = path.relative_to(html.resolve())
        found += [f"{name}: the picture {src} has no alt text" for src in page.nameless]
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            known = target in pages and (not url.fragment or unquote(url.fragment)
                                         in pages[target].places)  # fmt: skip
            if not (known or target not in pages and target.is_file()):
                found.append(f"{name}: the link {link} leads nowhere")
    return sorted(found)


def refuse(sentence):
    """Print why nothing is built; returns the exit code for it."""
    print(f"docs/build.py: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
