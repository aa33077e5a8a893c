"""What an export was asked for, and what came of it.

::

    project   of a project, and what a destination must offer;  exported: of one run
    scope     which project is meant, and where it is shown
    limit     so many requests at once, whoever makes them;  progress: bars for people who look
"""

from __future__ import annotations
