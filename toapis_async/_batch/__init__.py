"""Many tasks at once: `Batch` is what users hold, the board keeps the books, the stages do the work."""

from .batch import Batch, RequestSource
from .board import BatchProgress
from .job import Job

__all__ = ["Batch", "BatchProgress", "Job", "RequestSource"]
