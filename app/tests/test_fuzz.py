"""Whatever is thrown at the app, it is the client's fault: no 5xx. Random, with a fixed seed.

What schemathesis does not send (test_openapi.py): cookies and headers that no document names, tokens whose
parts are anything, JSON and forms that are hardly such.
"""

import json
import random
from collections.abc import Callable, Iterator

import httpx
import pytest
from auth_app.variants import NAMED
from harness import PASSWORD, App, Session
from signing import claims_of, encode

ROUNDS = 60
ENDPOINTS = [
    ("POST", "/api/v1/access/signup"),
    ("POST", "/api/v1/access/signin"),
    ("POST", "/api/v1/access/refresh"),
    ("POST", "/api/v1/access/logout"),
    ("PATCH", "/api/v1/access/password"),
    ("GET", "/api/v1/access/me"),
    ("GET", "/cryptography-verify"),
    ("GET", "/ping"),
    ("GET", "/health"),
]
BODIES = [endpoint for endpoint in ENDPOINTS if endpoint[0] != "GET"]

pytestmark = pytest.mark.parametrize("app", NAMED, indirect=True)


def nested(depth: int, opening: bytes, closing: bytes, core: bytes = b"") -> bytes:
    return opening * depth + core + closing * depth


def hostile_json(chance: random.Random) -> Iterator[bytes]:
    for depth in (10, 500, 990, 3000, 20_000):
        yield nested(depth, b"[", b"]")
        yield nested(depth, b'{"a":', b"}", b"1")
        yield b"[" * depth
    yield b'{"alg":' + b"9" * 5000 + b"}"
    yield b'{"alg":1e999,"crit":[null]}'
    yield b'{"alg":NaN}'
    yield b'{"alg":"\\ud800"}'
    yield b'"' + b"\\u0000" * 100 + b'"'
    for _ in range(20):
        yield chance.randbytes(chance.randint(0, 200))


def tokens(app: App, session: Session, chance: random.Random) -> Iterator[bytes]:
    """Return what may stand in a cookie; of 4 kB as browsers send it, and longer."""
    header, payload, signature = session.access.split(".")
    header_words = json.dumps({"alg": app.signer.algorithm, "typ": "JWT"}).encode()[:-1]
    for part in hostile_json(chance):
        if len(part) > 24_000:
            continue
        text = encode(part)
        yield f"{text}.{payload}.{signature}".encode()
        yield f"{header}.{text}.{signature}".encode()
        yield f"{header}.{payload}.{text}".encode()
        # With the algorithm in place, so that a parser goes on to the rest.
        with_part = encode(header_words + b',"x":' + part + b"}")
        yield f"{with_part}.{payload}.{signature}".encode()
        # And as somebody with the key might: nothing is to be believed before it is understood.
        yield app.signer.sign(part).encode()
        claims = json.dumps(claims_of(session.access)).encode()[:-1]
        yield app.signer.sign(claims + b',"x":' + part + b"}").encode()
    for _ in range(ROUNDS):
        token = bytearray(session.access.encode())
        for _ in range(chance.randint(1, 5)):
            token[chance.randrange(len(token))] = chance.choice(b"AZaz09-_.=+/~%")
        yield bytes(token)
        yield bytes(chance.choice(range(33, 256)) for _ in range(chance.randint(1, 300)))
    yield b"." * 8000
    yield b"=" * 8000


def send(client: httpx.Client, method: str, url: str, **request: object) -> httpx.Response | None:
    """Send it; None if the server hung up on something that is not HTTP."""
    try:
        return client.request(method, url, **request)  # pyright: ignore[reportArgumentType]
    except (httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError):
        return None


@pytest.fixture
def seen() -> Callable:
    """Note answers; those of 5xx with what was sent."""
    faults: list[str] = []

    def note(response: httpx.Response | None, *sent: object) -> None:
        if response is not None and response.status_code >= 500:
            faults.append(f"{response.status_code} to {repr(sent)[:300]}")

    note.faults = faults  # pyright: ignore[reportFunctionMemberAccess]
    return note


def test_cookies(app: App, session: Session, seen):
    chance = random.Random(1)
    with httpx.Client(base_url=app.url, timeout=60) as client:
        for number, token in enumerate(tokens(app, session, chance)):
            cookie = b"access_token=" + token + b"; refresh_token=" + token
            targets = ENDPOINTS[2:7] if len(token) > 2000 else [ENDPOINTS[2 + number % 5]]
            for method, path in targets:
                response = send(client, method, path, headers=[(b"cookie", cookie)])
                seen(response, method, path, token)
                if response is not None and "password" not in path:  # which looks at the body, too
                    assert response.status_code in (400, 401, 431), (path, token[:300])
    assert seen.faults == []


def test_cookie_headers(app: App, session: Session, seen):
    chance = random.Random(2)
    good = f"access_token={session.access}".encode()
    with httpx.Client(base_url=app.url, timeout=60) as client:
        for number in range(4 * ROUNDS):
            pieces = [
                good,
                b"access_token",
                b"=",
                b'"',
                b";",
                b" ",
                b"\\073",
                b"refresh_token=",
                b"$Version=1",
            ]
            pieces += [bytes([chance.randrange(128, 256)]), b",", b"\t", b"__Host-", b"=" * 50]
            cookie = b"".join(chance.choices(pieces, k=chance.randint(1, 8)))
            method, path = ENDPOINTS[(number % 5) + 2]
            seen(send(client, method, path, headers=[(b"cookie", cookie.strip())]), method, path, cookie)
    assert seen.faults == []


def test_headers(app: App, seen):
    chance = random.Random(3)
    names = [b"content-type", b"accept", b"authorization", b"host", b"origin", b"x-request-id", b"expect"]
    names += [b"range", b"if-none-match", b"content-encoding", b"upgrade", b"forwarded", b"x-forwarded-for"]
    values = [b"application/json; charset=utf-99", b"multipart/form-data", b"multipart/form-data; boundary="]
    values += [b"application/x-www-form-urlencoded; charset=nonsense", b";;;", b"\xff\xfe", b"a" * 5000]
    values += [b"application/x-www-form-urlencoded", b"text/plain", b"bytes=0-", b"gzip", b"websocket", b"/"]
    bodies = [b"", b"{}", b"a=b", b"\xff", b"--\r\n", b"username=%ff&password=%00"]
    with httpx.Client(base_url=app.url, timeout=60) as client:
        for number in range(5 * ROUNDS):
            # One of each name: the client itself refuses more than one host.
            chosen = chance.sample(names, chance.randint(1, 4))
            headers = [(name, chance.choice(values)) for name in chosen]
            method, path = ENDPOINTS[number % len(ENDPOINTS)]
            body = chance.choice(bodies)
            seen(send(client, method, path, headers=headers, content=body), method, path, headers, body)
    assert seen.faults == []


def test_bodies(app: App, session: Session, seen):
    chance = random.Random(4)
    types = [b"application/json", b"application/x-www-form-urlencoded", b"application/json; charset=utf-16"]
    types += [b"multipart/form-data; boundary=x", b"multipart/form-data; boundary=" + b"y" * 300, b"text/xml"]
    leaves = [b"null", b"1", b"1e999", b"-0", b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"x"', b"[]", b"{}"]
    leaves += [
        b'"' + PASSWORD.encode() + b'"',
        b'"a@b"',
        b'"' + b"e" * 300 + b'@example.com"',
        b'"\\u0130@x.de"',
    ]
    names = [
        b"email",
        b"password",
        b"confirmPassword",
        b"name",
        b"currentPassword",
        b"newPassword",
        b"__class__",
    ]
    parts = [b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\na\r\n', b"--x--\r\n", b"--x\r\n"]
    parts += [b'--x\r\nContent-Disposition: form-data; name="password"; filename="f"\r\n\r\nb\r\n']
    parts += [
        b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n\r\n",
        b"--x\r\n" + b"H: " + b"v" * 9000,
    ]
    pairs = [
        b"username=%ff",
        b"username=a",
        b"username=%00",
        b"password",
        b"password=%ud8",
        b"&&&",
        b"=",
        b"%",
    ]

    def body(number: int) -> bytes:
        match number % 4:
            case 0:
                chosen = {chance.choice(names): chance.choice(leaves) for _ in range(4)}
                return b"{" + b",".join(b'"%s":%s' % each for each in chosen.items()) + b"}"
            case 1:
                return b"&".join(chance.choices(pairs, k=chance.randint(1, 6)))
            case 2:
                return b"".join(chance.choices(parts, k=chance.randint(1, 6)))
            case _:
                return chance.randbytes(chance.randint(0, 500))

    headers = {"cookie": f"access_token={session.access}"}
    with httpx.Client(base_url=app.url, timeout=60, headers=headers) as client:
        for number in range(10 * ROUNDS):
            method, path = ENDPOINTS[(0, 1, 4)[number % 3]]
            content, kind = body(chance.randrange(4)), chance.choice(types)
            seen(
                send(client, method, path, content=content, headers={b"content-type": kind}),
                path,
                kind,
                content,
            )
        for content in hostile_json(chance):
            for method, path in BODIES:
                seen(
                    send(
                        client, method, path, content=content, headers={b"content-type": b"application/json"}
                    ),
                    path,
                    content,
                )
    assert seen.faults == []


EMAILS = [
    "İ@example.com",
    "ǅ@example.com",
    "ᏸ@example.com",
    "ẞ@example.com",
    "Ω@example.com",
    "a" * 64 + "@example.com",
]


@pytest.mark.parametrize("email", EMAILS)
def test_email_addresses_that_change_with_their_case(app: App, email: str):
    """Python and PostgreSQL do not lower every letter alike."""
    for address in (email, email.upper()):
        assert app.signup(email=address).status_code in (201, 409, 422)
        assert app.signin(address).status_code in (204, 401)
