"""Where exports go, and how a file gets there whole.

::

    places    a destination with the options of its store, credentials among them
    targets   local path, file:// URL or object store: one way to look at and to publish a file
    atomic    a local file appears whole or not at all;  tree: folders of downloaded files
    naming    file names from names that others chose
"""

from __future__ import annotations
