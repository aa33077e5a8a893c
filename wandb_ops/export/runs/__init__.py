"""The runs of a project, and what belongs to them besides their own history.

::

    listing       page by page, with all that tells whether they changed
    together      small histories of many runs in one request
    tables        runs, artifacts, lineage: rows of many runs, as they grow from export to export
    loose         what stays files whatever the format: runfiles, artifactfiles (artifactlist knows them)
"""

from __future__ import annotations
