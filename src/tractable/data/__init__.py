"""Named data sets: where they are, how to get them, and how to read them.

`resolve` says which files a choice stands for without reading them; `load` reads a named corpus,
`load_images` a named set of images, `load_dissimilarities` the 92-object set, and `read_table` a
user's own file. Nothing here imports torch;
NumPy comes with the first reading.
"""

from __future__ import annotations

from tractable.data.catalog import DATA_SETS, DataSet
from tractable.data.find import (
    DataNotFound,
    Listing,
    Resolved,
    cache_folder,
    download,
    files,
    listing,
    load,
    load_dissimilarities,
    load_images,
    load_norms,
    locate,
    read_table,
    resolve,
)

__all__ = [
    "DATA_SETS",
    "DataNotFound",
    "DataSet",
    "Listing",
    "Resolved",
    "cache_folder",
    "download",
    "files",
    "listing",
    "load",
    "load_dissimilarities",
    "load_images",
    "load_norms",
    "locate",
    "read_table",
    "resolve",
]
