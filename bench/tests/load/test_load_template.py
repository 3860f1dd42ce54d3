import json
from typing import Literal
from urllib.parse import parse_qs

import pytest
from ironbench.errors import IronbenchError
from ironbench.load.stream import FileStream
from ironbench.load.template import Template, process_token
from ironbench.records import Expectation, RequestTemplate

USERS = [{"name": "ann", "token": "t.1"}, {"name": "bo b&c", "token": "t.2"}, {"name": "é", "token": "t.3"}]


def template(users=USERS, method: Literal["GET", "POST"] = "POST", path="/x", **parts):
    request = RequestTemplate(method=method, path=path, expect=Expectation(status=200), **parts)
    return Template(request, "bench:8000", users, "utoken")


def parse(data):
    head, body = data.split(b"\r\n\r\n", 1)
    line, *headers = head.decode("latin-1").split("\r\n")
    return line, dict(header.split(": ", 1) for header in headers), body


def test_json_is_valid_json_with_the_fields_filled_in():
    line, headers, body = parse(
        template(json={"name": 'q"{user.name}', "mail": "{unique}@x", "f": "{"}).render(1)
    )

    assert line == "POST /x HTTP/1.1"
    assert headers == {
        "Host": "bench:8000",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    assert json.loads(body) == {"name": 'q"bo b&c', "mail": "utoken00000001@x", "f": "{"}


def test_form_is_urlencoded():
    _, headers, body = parse(template(form={"username": "{user.name}", "n": "{unique}"}).render(1))

    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(body.decode()) == {"username": ["bo b&c"], "n": ["utoken00000001"]}
    assert int(headers["Content-Length"]) == len(body)


def test_users_take_turns_over_all_requests():
    rendered = template(form={"u": "{user.token}"}).render_many(range(7))

    assert [parse(data)[2][-1:] for data in rendered] == [b"1", b"2", b"3", b"1", b"2", b"3", b"1"]


def test_path_header_and_cookie():
    line, headers, body = parse(
        template(
            [{"t": "a.b/c"}],
            "GET",
            "/u/{user.t}?x={unique}",
            headers={"X-T": "{user.t}"},
            cookies={"a": "1", "b": "{unique}"},
        ).render(3)
    )

    assert line == "GET /u/a.b%2Fc?x=utoken00000003 HTTP/1.1"
    assert headers == {"Host": "bench:8000", "X-T": "a.b/c", "Cookie": "a=1; b=utoken00000003"}
    assert body == b""


def test_a_post_without_a_body_says_so():
    assert parse(template().render(0))[1]["Content-Length"] == "0"


def test_one_object_serves_all_where_nothing_differs():
    assert len(set(map(id, template().render_many(range(9))))) == 1
    assert len(set(template(path="/{unique}").render_many(range(9)))) == 9


def test_tokens_differ_between_starts_of_the_same_run_and_have_one_length():
    tokens = {process_token(run) for run in ("a", "me.01.optimization-1") for _ in range(50)}

    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {17}
    assert all(token.isalnum() and token[0].isalpha() for token in tokens)


@pytest.mark.parametrize(
    ("users", "parts", "message"),
    [
        ([], {"form": {"a": "{user.name}"}}, "name a users_file"),
        (USERS, {"form": {"a": "{user.mail}"}}, r"User 1 .* no field 'mail'; it has name, token"),
        ([*USERS, {"token": ""}], {"form": {"a": "{user.name}"}}, "User 4 of the users file has no field"),
        (USERS, {"form": {"a": "{uniqe}"}}, r"\{uniqe\}, which is not a field; use \{unique\} or"),
        (USERS, {"form": {}, "json": {}}, "both json and form"),
        (USERS, {"headers": {"Host": "x"}}, "Host is set by the generator"),
        (USERS, {"headers": {"A": "{user.name}\n"}}, "header A"),
        (USERS, {"cookies": {"a": "{user.name}"}}, "cookie a is 'bo b&c'"),
        (USERS, {"path": "x"}, "path is 'x'"),
        (USERS, {"path": "/a b"}, "path is '/a b'"),
    ],
)
def test_what_cannot_be_sent_is_refused(users, parts, message):
    with pytest.raises(IronbenchError, match=message):
        template(users, **parts)


def test_a_file_is_sent_in_turn_after_the_gates_request():
    stream = FileStream(template(path="/gate"), [b"a", b"b", b"c"])

    assert stream.render_gate(0).startswith(b"POST /gate ")
    assert stream.render_gate(6).startswith(b"POST /gate "), "after the window too"
    assert stream.render_many(range(1, 6)) == [b"a", b"b", b"c", b"a", b"b"]
    assert stream.render_many(range(2, 7, 2)) == [b"b", b"a", b"c"]
