"""Exports to Delta Lake tables, which many projects and many writers may share.

::

    lake      application transactions, one commit after the other
    columns   which column a key goes to, and how it widens
    scan      reading a table a piece at a time
    sink      a project as rows;  run: one run;  snapshot: the table of snapshots
    care      joining small files, deleting what no version needs
"""

from __future__ import annotations
