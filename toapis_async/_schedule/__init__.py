"""When to send the next request: pure, given a clock and a source of randomness."""
