"""Settings of the documents as a site: `sphinx-build -W -c docs . build/site`.

The source folder is the root of the repository. So the links between pages are the same here and on a code host, also
those to CONTRIBUTING.md and kernels/README.md.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import fastser  # noqa: E402
from fastser.robustness import evaluate  # noqa: E402

fastser.evaluate = evaluate  # autodoc sees the function, not the module of the same name

project = "fastser"
author = "the fastser developers"
copyright = f"2026, {author}"
version = release = fastser.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "fastser/recognition/packaged/emodb.md",
    "kernels/README.md",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "*.md",
]
exclude_patterns = [
    "README.md",  # docs/index.md begins the site
    *(
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and path.name not in ("docs", "fastser", "kernels", "benchmarks")
    ),
]

myst_heading_anchors = 4
default_role = "code"  # single backticks in docstrings
highlight_language = "text"  # of blocks without a language
autodoc_default_options = {"exclude-members": "extra_repr, model_config"}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"fastser {release}"
html_extra_path = ["site"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
