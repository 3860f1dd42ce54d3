"""A server with known behaviour, chosen by path; prints its port, then serves until it is stopped.

Arguments: where to listen (an IP address or the path of a Unix socket), then stall seconds, of every so
many seconds (the whole process sleeps), and a number of worker processes. In processes of their own, so
that they share no interpreter with the generator.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import struct
import sys
import time
from typing import cast

import uvloop
from httptools import HttpRequestParser

BODY = b'{"ok":true,"name":"x"}'
LARGE = b"x" * 1_000_000
DEATH = 30
STALL_AT_S = 0.3
"""After a whole second, 50 ms after which a window begins."""

BUSY = 10
"""Requests after which a window has begun."""
REST_S = 0.8

asked = {}
"""When a path was asked for last."""
ends = []
"""The timer that will end the process."""
records = []
counts = {}
busy = asyncio.Lock()


def answer(body=BODY, status=b"200 OK", headers=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = cast("asyncio.Transport", transport)
        self.parser = HttpRequestParser(self)
        self.reset()

    def reset(self):
        self.url, self.headers, self.body = b"", [], b""

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.headers.append((name.decode(), value.decode("latin-1")))

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        path = self.url.decode().split("?")[0]
        counts[path] = counts.get(path, 0) + 1
        request = (self.parser.get_method().decode(), self.url.decode(), self.headers, self.body)
        self.reset()
        kind = path.strip("/").split("/")[0]
        result = getattr(self, kind.replace("-", "_"))(request, counts[path])
        if result is not None:
            task = asyncio.ensure_future(result)
            task.add_done_callback(lambda done: done.cancelled() or done.result())

    def write(self, data):
        if not self.transport.is_closing():
            self.transport.write(data)

    def ok(self, request, count):
        self.write(answer())

    def cookies(self, request, count):
        self.write(answer(headers=b"Set-Cookie: access_token=a; Path=/\r\nset-cookie: csrf=b\r\n"))

    def text(self, request, count):
        self.write(answer(b"hello"))

    def array(self, request, count):
        self.write(answer(b"[]"))

    def error(self, request, count):
        if count % 2:
            self.write(answer())
        else:
            self.write(answer(b"oops", b"500 Internal Server Error"))

    def empty(self, request, count):
        self.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    def chunked(self, request, count):
        self.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        )

    def large(self, request, count):
        self.write(answer(LARGE))

    def interim(self, request, count):
        self.write(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + answer())

    def close(self, request, count):
        self.write(answer(headers=b"Connection: close\r\n"))
        self.transport.close()

    def idle_close(self, request, count):
        self.write(answer())
        self.transport.close()

    async def drip(self, request, count):
        whole = answer(b"0123")
        for start in range(0, len(whole), 7):  # cuts every line of the head somewhere
            self.write(whole[start : start + 7])
            await asyncio.sleep(0.0005)

    async def slow(self, request, count):
        async with busy:
            await asyncio.sleep(0.02)
            self.write(answer())

    async def nap(self, request, count):
        await asyncio.sleep(0.15)
        self.write(answer())

    def block(self, request, count):
        time.sleep(0.15)
        self.write(answer())

    def never(self, request, count):
        if count == 1:  # the gate
            self.write(answer())

    def after(self, request, count):
        """Answer ``/after/N/KIND`` as ``/ok`` so many times, the gate's among them, and then as ``/KIND``."""
        _, _, number, kind = request[1].partition("?")[0].split("/")
        (self.ok if count <= int(number) else getattr(self, kind))(request, count)

    def within(self, request, count):
        """Answer ``/within/N/M/KIND`` as ``/KIND`` from the request after N to M, and the others as ``/ok``."""
        _, _, first, last, kind = request[1].partition("?")[0].split("/")
        (getattr(self, kind) if int(first) < count <= int(last) else self.ok)(request, count)

    def every(self, request, count):
        """Answer every Nth request of ``/every/N/KIND`` as ``/KIND``, and the others as ``/ok``."""
        _, _, number, kind = request[1].partition("?")[0].split("/")
        (self.ok if count % int(number) else getattr(self, kind))(request, count)

    def rested(self, request, count):
        """Answer ``/rested/KIND`` as ``/ok``, and as ``/KIND`` when nobody has asked since long, as after a window."""
        kind = request[1].partition("?")[0].split("/")[2]
        now = time.monotonic()
        resting = count > BUSY and now - asked.get(request[1], now) > REST_S
        asked[request[1]] = now
        (getattr(self, kind) if resting else self.ok)(request, count)

    def quits(self, request, count):
        """Answer, and end when nobody has asked for a moment after that."""
        self.ok(request, count)
        if count > BUSY:
            if ends:
                ends.pop().cancel()
            ends.append(asyncio.get_running_loop().call_later(REST_S, os._exit, 0))

    def broken(self, request, count):
        self.write(answer(b'{"detail":"later"}', b"503 Service Unavailable"))

    def page(self, request, count):
        self.write(answer(b"<html>Something went wrong.</html>", headers=b"Content-Type: text/html\r\n"))

    def apology(self, request, count):
        self.write(answer(b'{"detail":"Something went wrong."}'))

    def silent(self, request, count):
        pass

    def exit(self, request, count):
        os._exit(0)

    def rst(self, request, count):
        if count % 5:
            self.write(answer())
        else:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()

    def eof(self, request, count):
        if count % 5:
            self.write(answer())
        else:
            self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            self.transport.close()

    def garbage(self, request, count):
        self.write(b"SSH-2.0-x\r\n" if count % 5 == 0 else answer())

    def ssh(self, request, count):
        self.write(b"SSH-2.0-x\r\n")

    def twice(self, request, count):
        self.write(answer() * (2 if count % 5 == 0 else 1))

    def die(self, request, count):
        if count == DEATH:
            os._exit(0)
        self.write(answer())

    def echo(self, request, count):
        method, url, headers, body = request
        peer = self.transport.get_extra_info("peername")
        records.append([method, url, headers, body.decode(), time.time_ns(), peer[1]])
        self.write(answer())

    def count(self, request, count):
        self.write(answer(json.dumps(counts).encode()))

    def records(self, request, count):
        self.write(answer(json.dumps(records).encode()))
        records.clear()
        counts.clear()


def listen(where):
    if where.startswith("/"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(where)
        listener.listen(256)
        print(0, flush=True)
        return listener
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    listener = socket.create_server((where, 0), family=family, backlog=256)
    print(listener.getsockname()[1], flush=True)
    return listener


def fork(workers):
    """Go on in each of the workers; the parent keeps the socket, as uvicorn's does, and waits."""
    pids = []
    for _ in range(workers):
        pid = os.fork()
        if not pid:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            return
        pids.append(pid)
    print(*pids, flush=True)
    os.waitpid(-1, 0)


async def main(listener, stall_s, period_s):
    loop = asyncio.get_running_loop()
    await loop.create_server(Server, sock=listener)
    if stall_s:
        while True:
            # By the clock that windows begin by, so that none begins or ends in a stall.
            await asyncio.sleep((STALL_AT_S - time.time()) % period_s)
            time.sleep(stall_s)  # noqa: ASYNC251 - the known stall
    await loop.create_future()


if __name__ == "__main__":
    where, stall_s, period_s, workers = sys.argv[1:]
    listener = listen(where)
    if int(workers):
        fork(int(workers))
    uvloop.run(main(listener, float(stall_s), float(period_s)))
