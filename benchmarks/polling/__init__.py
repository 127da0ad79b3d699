"""How many looks finding the end of a task costs, and how late it is found: `python -m benchmarks.polling`."""
