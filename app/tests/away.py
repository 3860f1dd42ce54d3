"""Settings whose database and Valkey are not there, and what lets them come later."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from auth_app.settings import Settings
from harness import cli, write_settings

CHUNK = 65_536


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def settings_of_nothing(directory: Path, settings: Settings, *, database: int = 1, cache: int = 1) -> Path:
    """Write settings with these ports, where nobody listens, and with keys of their own."""
    path = write_settings(
        directory / "settings.toml",
        settings,
        database={"host": "127.0.0.1", "port": database},
        cache={"host": "127.0.0.1", "port": cache},
        keys={"directory": str(directory / "keys")},
    )
    cli("keys", "generate", settings=path)
    return path


class Line:
    """What passes can be held up, as by a network that loses packets: nothing arrives, nobody hangs up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._free = asyncio.Event()
        self._free.set()

    def hold(self) -> None:
        self._loop.call_soon_threadsafe(self._free.clear)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._free.set)

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._free.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@contextmanager
def forwarding(ports: dict[int, tuple[str, int]]) -> Iterator[Line]:
    """Pass connections to local ports on to addresses, until the end of the block."""
    loop, up, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    line = Line(loop)

    async def serve() -> None:
        servers = [
            await asyncio.start_server(_forward_to(line, *address), "127.0.0.1", port)
            for port, address in ports.items()
        ]
        up.set()
        await end.wait()
        for server in servers:
            server.close()
        # Whoever is connected gets an end of file, as when a service stops.
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()], daemon=True)
    thread.start()
    assert up.wait(10), f"one of the ports {list(ports)} is in use"
    try:
        yield line
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)


def _forward_to(line: Line, host: str, port: int):
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(line.copy(reader, far_writer), line.copy(far_reader, writer))

    return forward
