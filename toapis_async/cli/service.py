"""The session of a command, with its key and base URL from the environment or an option."""

from __future__ import annotations

from toapis_async import MissingApiKeyError, ToapisSession

from .exits import UsageError


def open_session(base_url: str | None) -> ToapisSession:
    """Make a session, to be entered.

    Raises:
        UsageError: there is no key, or key or base URL cannot be one.

    """
    try:
        return ToapisSession(base_url=base_url)
    except MissingApiKeyError as error:
        reason = f"no API key: set the environment variable {error.variable} (or try generate --simulate)"
    except ValueError as error:
        reason = str(error)
    raise UsageError([reason])
