"""Sphinx settings. Nothing here needs a network; mathematics is set by the reader's browser."""

from __future__ import annotations

import tractable

project = "tractable"
author = "The tractable developers"
project_copyright = "2026, the tractable developers"
version = release = tractable.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
templates_path = ["_templates"]
exclude_patterns = ["README.md", "gallery/**/*.ipynb", "gallery/**/*.md5", "gallery/**/*.py"]
suppress_warnings = ["ref.python"]  # what tractable.study re-exports is documented twice

# --- pages in Markdown -----------------------------------------------------------------------
myst_enable_extensions = ["amsmath", "dollarmath", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# --- the reference ---------------------------------------------------------------------------
autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_filename_map = {  # some file systems do not tell it from that of the class Manifold
    "tractable.dynamics.manifold": "tractable.dynamics.manifold-function",
    "tractable.linear.Coherence": "tractable.linear.Coherence-class",
    "tractable.linear.Conservation": "tractable.linear.Conservation-class",
    "tractable.linear.Correlations": "tractable.linear.Correlations-class",
    "tractable.linear.Illusions": "tractable.linear.Illusions-class",
}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the Parameters sections
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
autoclass_content = "class"
default_role = "py:obj"  # `find_points` in a docstring is a link
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False

# --- the gallery: examples/<system>/plot_*.py ------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/plot_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 0,
    "write_computation_times": True,
    "matplotlib_animations": False,
    "plot_gallery": "True",
    "abort_on_example_error": True,
    "thumbnail_size": (400, 280),
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": r"matplotlib|NoneType|list",
}

# --- the pages -------------------------------------------------------------------------------
html_theme = "furo"
html_title = f"tractable {version}"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


# --- the navigation: pages, not each of the six hundred names of the reference -----------------


def shallow_navigation(app, pagename, templatename, context, doctree):
    """Stop the sidebar's tree at pages: the theme parses it anew for every page."""
    whole = context.get("toctree")
    if whole is not None:
        context["toctree"] = lambda **options: whole(**{**options, "maxdepth": 2, "collapse": True})


def setup(app):
    app.connect("html-page-context", shallow_navigation, priority=100)  # before the theme's own
