"""Histories of runs: exact where not called `sampled`.

::

    ref       which run, and what the server says it holds
    windows   which steps to ask for next (no I/O)
    pages     rows of step windows, in order, some fetched ahead
    parquet   exported parts, and where live rows begin
    spool     a file in memory while it is small
    select    which rows and keys were asked for
    kinds     which type keeps all values of a column
    packed    a list of numbers -> an array, types checked
    columns   rows -> bounded chunks of Arrow arrays
    unify     chunks -> one Arrow table
    table     HistoryTable: rows, Arrow, pandas
    events    system metrics
    read      joins the sources and proves that nothing is missing
    sampled   a look at a run; not exact
"""

from __future__ import annotations
