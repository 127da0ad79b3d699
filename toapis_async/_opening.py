"""What is imported when the first session opens, and not before.

`import toapis_async` brings what programs name: the session, values, errors, policies. All that works while a session
is open, aiohttp and cattrs with it, takes several times as long to import.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._parts import Parts


async def load_parts() -> type[Parts]:
    """Return the class `Parts`; its first import in a process is done in a thread, so that the event loop goes on.

    Cancelling this leaves nothing but that thread, which ends when it has imported everything.

    Raises:
        ImportError: something cannot be imported.

    """
    import asyncio  # noqa: PLC0415 - is loaded where a loop runs, and no part of what others have to import

    loop = asyncio.get_running_loop()
    # On a virtual clock no thread is waited for: time would jump to the next timeout.
    if not _is_imported() and abs(loop.time() - time.monotonic()) < 1:
        await loop.run_in_executor(None, _import_parts)
    return _import_parts()


def _is_imported() -> bool:
    # A module is listed before it is complete, in another thread perhaps; the class is the last that it gets.
    return hasattr(sys.modules.get(f"{__package__}._parts"), "Parts")


def _import_parts() -> type[Parts]:
    from ._parts import Parts  # noqa: PLC0415 - see above

    return Parts
