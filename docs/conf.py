"""Sphinx's settings for the pages of minizo; `docs/build.py` puts the sources together first."""

import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import docstrings  # noqa: E402

import minizo  # noqa: E402

project = "minizo"
author = "minizo developers"
copyright = "minizo developers, MIT licence"
version = release = minizo.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
]
root_doc = "index"
exclude_patterns = ["figures/**"]
default_role = "py:obj"  # `fit` in a docstring is a link where there is such a thing
nitpicky = True
toc_object_entries_show_parents = "hide"

autosummary_generate = False  # docs/reference.py writes those pages
autodoc_typehints = "none"  # the docstrings say it
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

html_theme = "furo"
html_title = "minizo"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"


def resolve(app, env, node, contnode):
    """Link a name by its end if that is unique, and leave any other name as it is written."""
    if node.get("refdomain") != "py":
        return None
    domain, end = env.get_domain("py"), "." + node["reftarget"].removesuffix("()").lstrip(".~")
    found = {entry[0] for entry in domain.objects.items() if f".{entry[0]}".endswith(end)}
    found = {name for name in found if not domain.objects[name].aliased}
    if len(found) != 1:
        return contnode
    (name,) = found
    entry = domain.objects[name]
    uri = app.builder.get_relative_uri(node["refdoc"], entry.docname) + "#" + entry.node_id
    return nodes.reference("", "", contnode, internal=True, refuri=uri, reftitle=name)


def public_bases(app, name, thing, options, bases):
    """Show the public classes that a private base stands on in its place."""
    while any(base.__name__.startswith("_") for base in bases):
        bases[:] = [
            one
            for base in bases
            for one in (base.__bases__ if base.__name__.startswith("_") else [base])
        ]


def name_pictures(app, doctree):
    """Give the pictures that notebooks draw a text in their place."""
    if app.env.docname.startswith("notebooks/"):
        for image in doctree.findall(nodes.image):
            image.setdefault("alt", "Picture that the code above draws")


def mathml(display):
    """Return what writes a formula as MathML, which browsers show without a script."""

    def visit(translator, node):
        tag, kind = ("div", "block") if display else ("span", "inline")
        text = convert(node.astext(), display=kind)
        translator.body.append(f'<{tag} class="math-{kind}">{text}</{tag}>')
        raise nodes.SkipNode

    return visit


def setup(app):
    """Prepare docstrings before numpydoc reads them, and formulas in MathML."""
    app.connect("autodoc-process-docstring", docstrings.prepare, priority=100)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("doctree-read", name_pictures)
    app.connect("missing-reference", resolve)
    app.add_node(nodes.math, override=True, html=(mathml(False), None))
    app.add_node(nodes.math_block, override=True, html=(mathml(True), None))
