"""Many tasks at once: `Batch` is what users hold, the board keeps the books, the stages do the work."""

from .batch import Batch
from .board import BatchProgress
from .items import RequestSource
from .job import Job

__all__ = ["Batch", "BatchProgress", "Job", "RequestSource"]
