"""Benchmarks of `toapis_async`, run with `python -m benchmarks`."""
