"""The built-in load generator: open loop, constant rate, latency from the intended send time."""
