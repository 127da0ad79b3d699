"""What a batch knows about its jobs, on disk: one SQLite file, one row a job, one writer at a time."""

from .entry import Entry
from .journal import Journal
from .rows import Row, describe, digest_of, is_storable
from .store import read_rows, read_summary

__all__ = ["Entry", "Journal", "Row", "describe", "digest_of", "is_storable", "read_rows", "read_summary"]
