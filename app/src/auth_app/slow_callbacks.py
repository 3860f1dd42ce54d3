"""Makes asyncio name what blocks the event loop."""

import asyncio

SLOW_CALLBACK_S = 0.001
"""The finest that the log tells. The article's 0.1 s hides a hash that a faster machine is through with by then;
who reads the log can apply any threshold above."""


def report_slow_callbacks() -> None:
    """Switch the running loop to debug mode: a callback that blocks it longer is logged as a warning."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW_CALLBACK_S
