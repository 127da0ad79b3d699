"""Where the key and the base URL come from."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit

from .errors import MissingApiKeyError

_KEY_VARIABLE: Final = "TOAPIS_API_KEY"
_URL_VARIABLE: Final = "TOAPIS_BASE_URL"
_DEFAULT_URL: Final = "https://toapis.com/v1"


def read_key(given: str | None) -> str:
    """Return the API key, from the argument or the environment.

    Raises:
        MissingApiKeyError: there is none.
        ValueError: it cannot be a key. The message does not show it.

    """
    key = (given if given is not None else os.environ.get(_KEY_VARIABLE, "")).strip()
    if not key:
        raise MissingApiKeyError(_KEY_VARIABLE)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("api_key: it holds characters that no key has (white space, control or non-ASCII characters)")
    return key


def read_base_url(given: str | None) -> str:
    """Return the base URL ending in `/v1`, from the argument, the environment or the default.

    Raises:
        ValueError: it is no http(s) URL of a service.

    """
    url = (given or os.environ.get(_URL_VARIABLE) or _DEFAULT_URL).strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"base_url: {url!r} is not an http(s) URL without query and fragment")
    if "@" in parts.netloc:
        raise ValueError("base_url: it holds a user name or password; the key is all that the service wants")
    return url if url.endswith("/v1") else f"{url}/v1"
