"""Raw outputs of the observers in, typed records out; pure but for reading the named file."""

from ironbench.collect.check import cpu_check

__all__ = ["cpu_check"]
