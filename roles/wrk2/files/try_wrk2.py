"""Tries a wrk2 out: against a server of its own on loopback, at a low rate, with a Lua script.

Argument: the program. Exit status 0 when the server saw what the script asks for and the output has
the lines that ironbench reads; else 1, with what is missing and the whole output. Standard library only.
"""  # noqa: INP001 - a script, run by whatever python a host has

import http.server
import re
import subprocess
import sys
import tempfile
import threading

RATE, SECONDS = 20, 2
SCRIPT = """
local count = 0
function setup(thread) thread:set("tried_thread", "one") end
function request()
  count = count + 1
  local body = "number=" .. count
  return "POST /try HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nX-Thread: " .. tostring(tried_thread)
    .. "\\r\\nContent-Length: " .. #body .. "\\r\\n\\r\\n" .. body
end
"""
LINES = {
    "the test's name": r"Running 2s test @ http://127\.0\.0\.1:\d+/try$",
    "threads and connections": r"  1 threads and 1 connections$",
    "the recorded latency": r"  Latency Distribution \(HdrHistogram - Recorded Latency\)$",
    "a percentile": r" 50\.000% +[0-9.]+(us|ms|s|m) *$",
    "the spectrum": r"  Detailed Percentile spectrum:$",
    "a line of the spectrum": r" +[0-9.]+ +1\.000000 +[0-9]+ +inf$",
    "the mean": r"#\[Mean +=",
    "the count": r"#\[Max +=.*Total count +=",
    "the buckets": r"#\[Buckets +=",
    "the uncorrected latency": r"  Latency Distribution \(HdrHistogram - Uncorrected Latency",
    "the number of requests": r"  [1-9][0-9]* requests in [0-9.]+(ms|s), ",
    "the rate": r"Requests/sec: +[0-9.]+$",
}

seen = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        seen.append((self.path, self.headers["X-Thread"], body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names them
        pass


def faults(output: str) -> "list[str]":
    """Say what the output lacks and what of the script the server did not see."""
    missing = [what for what, line in LINES.items() if not re.search("^" + line, output, re.MULTILINE)]
    found = [f"its output has no line with {what}" for what in missing]
    if not seen or any(request[:2] != ("/try", "one") for request in seen):
        found.append("the server did not see the script's requests")
    elif len({body for _, _, body in seen}) != len(seen):
        found.append("a request came twice")
    elif not 0.5 <= len(seen) / (RATE * SECONDS) <= 1.5:
        found.append(f"the server saw {len(seen)} requests instead of {RATE * SECONDS}")
    return found


def main(program: str) -> int:
    """Run it and print what is wrong."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        url = f"http://127.0.0.1:{server.server_port}/try"
        options = ["-t1", "-c1", f"-d{SECONDS}s", f"-R{RATE}", "--timeout", "5s", "--latency", "--u_latency"]
        try:
            done = subprocess.run(
                [program, *options, "-s", script.name, url],
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(error)
            return 1
    output = done.stdout.decode("utf-8", "replace")
    found = faults(output)
    if done.returncode:
        found.insert(0, f"it ended with {done.returncode}")
    if found:
        print("; ".join(found).capitalize() + ". Its output:\n" + output)
    return 1 if found else 0


sys.exit(main(sys.argv[1]))
