"""The paid step: the record of an intent, the one POST under a shield, and what its answer meant."""

from .pictures import place_pictures
from .record import Submission, new_client_business_id, without_references
from .submitter import Submitter, note_accepted

__all__ = [
    "Submission",
    "Submitter",
    "new_client_business_id",
    "note_accepted",
    "place_pictures",
    "without_references",
]
