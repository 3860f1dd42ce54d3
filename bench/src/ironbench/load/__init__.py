"""The built-in load generator: open loop, constant rate, latency from the intended send time."""

import signal

STOPPED = 128 + signal.SIGTERM
"""Exit status of ``ironbench load`` when it was stopped by SIGTERM and wrote nothing."""
