"""Hostile archives: files of a session below the host's directory or one sentence, and never anything elsewhere.

``IRONBENCH_FUZZ=20000 pytest bench/tests/test_archive_fuzz.py`` (``make fuzz``) tries as many.
"""

import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import tracemalloc
from collections import Counter

import pytest
from ironbench import archive
from ironbench.errors import IronbenchError
from ironbench.records import SCHEMA, Collected

ARCHIVES = int(os.environ.get("IRONBENCH_FUZZ", "500"))
SEED = 16
MAX_FILE, MAX_UNPACKED, MAX_MEMBERS = 32 * 1024, 128 * 1024, 40
"""Small ones for the test, so that the limits are met in every run of it."""
NAMES = [
    "../escaped", "../../escaped", "load/../../escaped", "/{outside}/escaped", "{outside}/escaped", "..", ".", "", "/",
    "load", "load/", "load/background", "load/load.json/x", "./session.json", "load//load.json", "/session.json",
    "session.json\n", "session.json\0.txt", "sess\x1bion.json", "SESSION.JSON", "Load/load.json", "sés.json",
    "session\u2024json", "\uff0e\uff0e/escaped", "..\\escaped", "C:\\escaped", "~/.ssh/authorized_keys", ".bashrc",
    "users.jsonl", "run.json", "load/load.json", "session.json", "host.json", "idle.7.folded", "x" * 255,
    "idle." + "9" * 90 + ".folded", "a/" * 60 + "x", "con", "aux.json", "load/background/../../../escaped",
]  # fmt: skip
TYPES = [bytes([code]) for code in b"0\x0001234567LKSNVXgxDM"]


def originals(rng):
    """Return archives as a host packs them, and their members."""
    names = ["session.json", "host.json", "before.json", "cgroup.jsonl", "load/load.json", "load/wrk2.log"]
    return [(name, rng.randbytes(rng.choice((0, 1, 300, 512, 3000)))) for name in names]


def packed(members, rng, form=tarfile.USTAR_FORMAT):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), rng.choice((0, 1.5))
            made.addfile(member, io.BytesIO(content))
    return raw.getvalue()


# --- what is done to them ----------------------------------------------------------------------


def flip(raw, rng, _):
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def flip_header(raw, rng, _):
    """Change a header and mend its checksum, so that what is changed is looked at."""
    raw = bytearray(raw)
    start = rng.randrange(len(raw) // 512) * 512
    field = rng.choice([(0, 100), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155), (345, 155)])
    for _ in range(rng.randint(1, 12)):
        raw[start + field[0] + rng.randrange(field[1])] = rng.choice(b"0127./\0x\xff~")
    return mend(bytes(raw), start)


def retype(raw, rng, _):
    start = rng.randrange(len(raw) // 512) * 512
    return mend(raw[: start + 156] + rng.choice(TYPES) + raw[start + 157 :], start)


def resize(raw, rng, _):
    sizes = [b"77777777777\0", b"00000000000\0", b"\x80" + b"\0" * 10 + b"\xff", b"\xff" * 12, b"-0000000001\0",
             b"00000100000 ", b"0000_1000000", b"            ", b"00000000777\0"]  # fmt: skip
    start = rng.randrange(len(raw) // 512) * 512
    return mend(raw[: start + 124] + rng.choice(sizes) + raw[start + 136 :], start)


def mend(raw, start):
    header = bytearray(raw[start : start + 512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return raw[:start] + bytes(header) + raw[start + 512 :]


def cut(raw, rng, _):
    return raw[: rng.randrange(len(raw))] or b"\0"


def twice(raw, rng, _):
    start, end = sorted(rng.randrange(len(raw) // 512 + 1) * 512 for _ in range(2))
    return raw[:end] + raw[start:end] * rng.randint(1, 3) + raw[end:]


def hostile(raw, rng, outside):
    """Put members of other names and types before or after the honest ones."""
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form, errors="surrogateescape") as archive_:
        for _ in range(rng.randint(1, 4)):
            member = tarfile.TarInfo(rng.choice(NAMES).replace("{outside}", str(outside)))
            member.type = rng.choice(TYPES)
            member.linkname = rng.choice(["..", "../..", str(outside), "session.json", "/etc/passwd", ""])
            content = rng.randbytes(rng.choice((0, 10, 2000)))
            member.size = len(content) if member.isreg() else 0
            member.mode = rng.choice((0o644, 0o4777, 0, 0o777))
            if form == tarfile.PAX_FORMAT and rng.random() < 0.5:
                key = rng.choice(
                    ("path", "linkpath", "size", "GNU.sparse.name", "GNU.sparse.map", "hdrcharset")
                )
                member.pax_headers = {
                    key: rng.choice(("../escaped", f"{outside}/escaped", "999999999999", "0,1,2"))
                }
            try:
                archive_.addfile(member, io.BytesIO(content))
            except (ValueError, UnicodeError, OSError):  # not a name that this form can write
                continue
    more = made.getvalue().rstrip(b"\0")
    more += b"\0" * (-len(more) % 512)
    return (
        more + raw
        if rng.random() < 0.5
        else raw.rstrip(b"\0") + b"\0" * (-len(raw.rstrip(b"\0")) % 512) + more
    )


def link_and_through(raw, rng, outside):
    """A symbolic link out of the directory, then a file through it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive_:
        link = tarfile.TarInfo(rng.choice(("load", "session.json", "x", "load/background")))
        link.type, link.linkname = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), str(outside)
        archive_.addfile(link)
        through = tarfile.TarInfo(f"{link.name}/escaped" if rng.random() < 0.5 else link.name)
        through.size = 3
        archive_.addfile(through, io.BytesIO(b"bad"))
    return made.getvalue()


def many(raw, rng, _):
    return packed([(f"idle.{number}.folded", b"") for number in range(MAX_MEMBERS + rng.randrange(5))], rng)


def bomb(raw, rng, _):
    return packed(
        [(f"idle.{number}.folded", bytes(rng.choice((MAX_FILE, MAX_FILE + 1, 10)))) for number in range(8)],
        rng,
    )


KINDS = [
    flip,
    flip_header,
    flip_header,
    retype,
    resize,
    cut,
    twice,
    hostile,
    hostile,
    link_and_through,
    many,
    bomb,
]


def hostile_archives(count, outside):
    rng = random.Random(SEED)
    for _ in range(count):
        form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        raw = packed(originals(rng), rng, form)
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
            raw = rng.choice(KINDS)(raw, rng, outside)
            raw += b"\0" * (-len(raw) % 512 or 512)
        zipped = gzip.compress(raw, 1, mtime=0)
        if rng.random() < 0.15:
            zipped = rng.choice((flip, cut))(zipped, rng, None)
        yield zipped


# --- what must hold ----------------------------------------------------------------------------


def seen(directory):
    """Return everything below a directory, with what a change of it would change."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        found[path] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink, status.st_uid)
    return found


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE", MAX_FILE)
    monkeypatch.setattr(archive, "MAX_UNPACKED", MAX_UNPACKED)
    monkeypatch.setattr(archive, "MAX_MEMBERS", MAX_MEMBERS)


def handed_in(archive_, host="box"):
    return Collected(schema=SCHEMA, host=host, key="x.01.y", generator_exit=0, started_ns=1, archive=archive_)


def test_hostile_archives_stay_inside_or_are_refused(tmp_path, small):
    outside, raw = tmp_path / "outside", tmp_path / "room/raw"
    outside.mkdir()
    (outside / "canary").write_text("as it was")
    raw.parent.mkdir()
    before, tally = seen(outside), Counter()
    tracemalloc.start()
    for number, made in enumerate(hostile_archives(ARCHIVES, outside)):
        said = ""
        try:
            archive.unpack([handed_in(made)], raw)
        except IronbenchError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(number, made) from error
        assert not said or (said.startswith("what box handed in") and said.isprintable()), said
        files = []
        for path in raw.rglob("*"):
            mode = path.lstat().st_mode
            assert stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and stat.S_IMODE(mode) == 0o644), path
            if stat.S_ISREG(mode):
                files.append(path)
        assert all(archive.may_be_packed(path.relative_to(raw / "box").as_posix()) for path in files)
        sizes = [path.stat().st_size for path in files]
        assert sum(sizes) <= MAX_UNPACKED
        assert max(sizes, default=0) <= MAX_FILE
        assert len(files) <= MAX_MEMBERS
        assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "room"]
        assert [path.name for path in raw.parent.iterdir()] == ["raw"]
        assert [path.name for path in raw.iterdir()] == ["box"]
        assert seen(outside) == before
        shutil.rmtree(raw)
        tally["refused" if said else "unpacked"] += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * archive.MIB
    assert min(tally["refused"], tally["unpacked"]) > ARCHIVES // 100, tally
    print(f"{dict(tally)} of {ARCHIVES} archives, at most {peak / archive.MIB:.1f} MiB")


def test_what_is_packed_is_unpacked(tmp_path):
    session = tmp_path / "session"
    names = ["session.json", "sar.bin", "idle.12.folded", "load/requests.csv.gz", "load/background/load.json"]
    for number, name in enumerate(names):
        (session / name).parent.mkdir(parents=True, exist_ok=True)
        (session / name).write_bytes(os.urandom(number * 777))
    for name in ("users.jsonl", "spec.json", "placement.json", "load/.load.json.part"):
        (session / name).write_text("stays on the host")
    (session / "after.json").symlink_to("/etc/hostname")
    archive.unpack([handed_in(archive.pack(session))], tmp_path / "raw")
    found = {
        path.relative_to(tmp_path / "raw/box").as_posix(): path for path in (tmp_path / "raw").rglob("*.*")
    }
    assert sorted(found) == sorted(names)
    assert all(found[name].read_bytes() == (session / name).read_bytes() for name in names)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_archives_of_an_earlier_ironbench_are_unpacked(tmp_path, form):
    """It packed with tarfile's default form: directories too, and times with fractions in extended headers."""
    (tmp_path / "session/load").mkdir(parents=True)
    for name in ("session.json", "load/load.json"):
        (tmp_path / "session" / name).write_text(name)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=form) as made:
        for path in sorted((tmp_path / "session").iterdir()):
            made.add(path, arcname=path.name)
    archive.unpack([handed_in(raw.getvalue())], tmp_path / "raw")
    assert (tmp_path / "raw/box/load/load.json").read_text() == "load/load.json"


@pytest.mark.parametrize("host", ["..", ".", "", "/etc", "a/b", "x\n", "\0", "-rf", ".ssh", "x" * 300, "é"])
def test_a_name_that_is_no_hosts(tmp_path, host):
    with pytest.raises(IronbenchError, match="cannot be a name here"):
        archive.unpack([handed_in(gzip.compress(b"\0" * 1024), host)], tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_host_that_hands_in_twice(tmp_path):
    both = [handed_in(gzip.compress(b"\0" * 1024))] * 2
    with pytest.raises(IronbenchError, match="handed in twice"):
        archive.unpack(both, tmp_path / "raw")
