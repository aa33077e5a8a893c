"""Rows and tables on their way to a file, in bounded memory.

::

    stream    a history, laid down chunk by chunk and typed as a whole
    spool     many tables become one;  schema: tables typed apart, put together
    runs      one row per run, its config and summary;  runindex: in which row a run stands
    parquet   Arrow tables -> Parquet whose footer says what it holds;  text: CSV and JSON lines
    metadata  what a footer says, and the fingerprint that tells a changed run from an unchanged one
    scratch   rows that wait on disk
    digest    a checksum of rows, whatever file they stand in;  buffers: numbers without pandas
"""

from __future__ import annotations
