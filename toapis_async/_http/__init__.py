"""The wire: one thin adapter to aiohttp, one place that paces and retries."""
