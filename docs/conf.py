"""How Sphinx builds these pages: `uv run --group docs sphinx-build -W docs docs/_build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from configuration import write_pages

import vnl_mjx

project = "vnl_mjx"
author = "the vnl_mjx team"
version = release = vnl_mjx.__version__
html_title = f"vnl_mjx {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_static_path = []
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True


def setup(app):
    """Writes the pages of all configuration keys before the others are read."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "configuration"))
