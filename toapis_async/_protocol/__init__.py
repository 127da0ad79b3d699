"""What the service says: pure functions of status, headers and body. No clock, socket or randomness."""
