"""A simulated ToAPIs service, scripted faults and a virtual clock, for tests of your own code and for dry
runs.

Importing this does not import aiohttp; entering a `Simulator` does.
"""

from . import faults
from .catalogue import LogNormal
from .clock import VirtualClockEventLoop
from .injection import Drop, Fault, Reschedule, Respond, Subject, Transform, Wait, When
from .limits import GROUPS, GroupLimits
from .records import RequestRecord
from .replies import BodyShape, Delivery, Reply, error_reply, gateway_reply, html_reply, json_reply, panic_reply
from .server import Simulator
from .service import Kind
from .submissions import FAIL_MARKER, REJECT_MARKER
from .tasks import Charge
from .uploads import Upload

__all__ = [
    "FAIL_MARKER",
    "GROUPS",
    "REJECT_MARKER",
    "BodyShape",
    "Charge",
    "Delivery",
    "Drop",
    "Fault",
    "GroupLimits",
    "Kind",
    "LogNormal",
    "Reply",
    "RequestRecord",
    "Reschedule",
    "Respond",
    "Simulator",
    "Subject",
    "Transform",
    "Upload",
    "VirtualClockEventLoop",
    "Wait",
    "When",
    "error_reply",
    "faults",
    "gateway_reply",
    "html_reply",
    "json_reply",
    "panic_reply",
]
