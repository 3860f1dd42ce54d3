"""Turns a request template into a Lua script that makes wrk2 send the same requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ironbench.load.template import Template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import RequestTemplate

# Thread THREAD of STEP threads sends the requests THREAD, THREAD + STEP, THREAD + 2 STEP, ..., so no
# number comes twice. wrk2 calls setup() once a thread in a Lua state of its own, and init() and
# request() in the thread's.
_SCRIPT = """\
-- Made by ironbench for one run.
local requests, parts_each, step = %d, %d, %d
local unique = "%s%%0%dd"
local parts = {%s}
local threads, number = 0, 0

function setup(thread)
  thread:set("ironbench_thread", threads)
  threads = threads + 1
end

function init()
  number = ironbench_thread
end

function request()
  local first = number %% requests * parts_each
  local text = parts[first + 1]
  if parts_each > 1 then
    local value = string.format(unique, number)
    for part = 2, parts_each do
      text = text .. value .. parts[first + part]
    end
  end
  number = number + step
  return text
end
"""


def script(
    request: RequestTemplate, host: str, users: Sequence[dict[str, str]], token: str, threads: int
) -> bytes:
    """Write the script for a run of ``threads`` threads.

    ``host`` is the Host header; ``token`` is part of every ``{unique}`` (template.process_token). The
    script holds whatever the users' fields hold: passwords, tokens, cookies.

    Raises IronbenchError for a request that cannot be sent.
    """
    template = Template(request, host, users, token)
    value = re.compile(re.escape(token.encode()) + rb"(\d+)")
    rendered = [template.render(number) for number in range(max(1, len(users)))]
    requests = [value.split(text)[::2] for text in rendered]
    if all(parts == requests[0] for parts in requests):
        del requests[1:]
    digits = value.search(rendered[0])
    parts = [text for parts in requests for text in parts]
    return (
        _SCRIPT
        % (
            len(requests),
            len(requests[0]),
            threads,
            token,
            len(digits[1]) if digits else 1,
            ", ".join(map(_literal, parts)),
        )
    ).encode()


def _literal(data: bytes) -> str:
    """Write bytes as a Lua string: printable ASCII as it is, all else as decimal escapes."""
    return '"' + re.sub(rb"[^ !#-\[\]-~]", lambda byte: b"\\%03d" % byte[0][0], data).decode("ascii") + '"'
