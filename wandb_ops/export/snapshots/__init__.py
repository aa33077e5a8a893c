"""Snapshots of a project: one row per run at one moment.

::

    snapshots  what it says
    metrics    of each run, by its summary or its history
    figures    the metrics of all runs, compared with those before
    report     as one HTML page
"""

from __future__ import annotations
