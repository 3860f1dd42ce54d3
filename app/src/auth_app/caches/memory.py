"""Values in a worker's own memory: bounded, each with an end."""

import time
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """The ``maximum`` values that were asked for last. An end is in seconds since 1970."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, end = entry
        if end <= time.time():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def set(self, key: K, value: V, end: float) -> None:
        self._entries[key] = (value, end)
        self._entries.move_to_end(key)
        if len(self._entries) > self._maximum:
            self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)
