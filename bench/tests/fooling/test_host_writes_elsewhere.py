"""A bench host hands in an archive or a name that makes the controller write outside of the bundle."""

import gzip
import io
import tarfile

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.errors import IronbenchError
from ironbench.flame import files
from ironbench.ingest import read_collected
from ironbench.plan import make_session

from tests.made import due, handed_in, new_bundle, plan, replace, write_raw
from tests.test_flame import handed_in as recording
from tests.test_flame import make, own_bundle


def collected(bundle, tmp_path):
    raw = write_raw(tmp_path / "raw", make_session(bundles.read_plan(bundle), due(bundle)))
    return read_collected(handed_in(raw))


def rewritten(archive, change):
    """Return an archive with what ``change(writer, member, content)`` makes of each member."""
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as old,
        tarfile.open(fileobj=made, mode="w:gz") as new,
    ):
        for member in old.getmembers():
            change(new, member, old.extractfile(member))
    return made.getvalue()


def below(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


@pytest.fixture
def home(tmp_path):
    """What a host would like to write to: /root/.ssh of the controller."""
    made = tmp_path / "root/.ssh"
    made.mkdir(parents=True)
    return made


def test_flame_graphs_host_names_itself_as_a_directory_of_the_controller(tmp_path, home):
    made = make()
    bundle = own_bundle(tmp_path, made)
    (handed,) = recording(made, made.runs[0])
    there = str(home / "authorized_keys.d")
    with pytest.raises(IronbenchError, match="cannot be a name here"):
        files.seal_recording(bundle, [replace(handed, host=there)])
    assert below(home) == []
    assert below(bundle / "flamegraphs") == ["plan.json"]


def test_flame_graphs_record_names_another_directory(tmp_path, home):
    """The host's name is right in what it hands in, and in the record is where its stacks would be looked for."""
    made = make()
    bundle = own_bundle(tmp_path, made)
    (handed,) = recording(made, made.runs[0])
    (home / "idle.9.folded").write_text("secret (x.py:1) 7\n")

    def elsewhere(new, member, content):
        raw = content.read()
        if member.name == "recording.json":
            raw = raw.replace(b'"host":"box"', f'"host":"{home}"'.encode())
            member.size = len(raw)
        new.addfile(member, io.BytesIO(raw))

    with pytest.raises(IronbenchError, match="says that it is of"):
        files.seal_recording(bundle, [replace(handed, archive=rewritten(handed.archive, elsewhere))])
    assert below(bundle / "flamegraphs") == ["plan.json"]


@pytest.mark.parametrize("name", ["../../../../../root/.ssh/authorized_keys", "{home}/authorized_keys"])
def test_member_leads_out_where_python_has_no_filters(tmp_path, home, monkeypatch, name):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)  # as Debian 12's Python 3.11.2
    bundle = new_bundle(tmp_path)
    (handed,) = collected(bundle, tmp_path)

    def out(new, member, content):
        new.addfile(member, content)
        if member.name == "session.json":
            key = tarfile.TarInfo(name.format(home=home))
            key.size = 3
            new.addfile(key, io.BytesIO(b"key"))

    evil = replace(handed, archive=rewritten(handed.archive, out))
    with pytest.raises(
        IronbenchError, match=r"what box handed in cannot be unpacked: its member .* is none of the files"
    ):
        bundles.seal_collected(bundle, [evil])
    assert below(home) == []
    assert bundles.read_runs(bundle) == []


def test_link_and_then_a_file_through_it(tmp_path, home, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    bundle = new_bundle(tmp_path)
    (handed,) = collected(bundle, tmp_path)

    def through(new, member, content):
        if member.name == "session.json":
            link = tarfile.TarInfo("way")
            link.type, link.linkname = tarfile.SYMTYPE, str(home)
            new.addfile(link)
            key = tarfile.TarInfo("way/authorized_keys")
            key.size = 3
            new.addfile(key, io.BytesIO(b"key"))
        new.addfile(member, content)

    evil = replace(handed, archive=rewritten(handed.archive, through))
    with pytest.raises(IronbenchError, match="its member 'way' is no regular file"):
        bundles.seal_collected(bundle, [evil])
    assert below(home) == []


def test_link_that_brings_a_file_of_the_controller_into_the_bundle(tmp_path, home, monkeypatch):
    """The journal is a link to a secret, which a shared bundle would then hold."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    bundle = new_bundle(tmp_path)
    (handed,) = collected(bundle, tmp_path)
    (home / "id_ed25519").write_text("secret")

    def linked(new, member, content):
        if member.name == "journal.txt":
            member.type, member.linkname, member.size = tarfile.SYMTYPE, str(home / "id_ed25519"), 0
        new.addfile(member, content)

    with pytest.raises(IronbenchError, match=r"its member 'journal\.txt' is no regular file"):
        bundles.seal_collected(bundle, [replace(handed, archive=rewritten(handed.archive, linked))])
    assert bundles.read_runs(bundle) == []


def test_file_that_no_session_leaves(tmp_path):
    bundle = new_bundle(tmp_path)
    (handed,) = collected(bundle, tmp_path)

    def more(new, member, content):
        new.addfile(member, content)
        if member.name == "session.json":
            new.addfile(tarfile.TarInfo("load/.bashrc"), io.BytesIO())

    with pytest.raises(IronbenchError, match="is none of the files that a session leaves"):
        bundles.seal_collected(bundle, [replace(handed, archive=rewritten(handed.archive, more))])


def test_host_hands_in_the_record_of_another(tmp_path, run):
    """Two hosts: the one says that it is the other, whose figures its own then become."""
    bundle = new_bundle(tmp_path)
    collected(bundle, tmp_path)
    lines = handed_in(tmp_path / "raw") + b"\n"
    code, out, err = run("seal", bundle, "--host", "other", stdin=lines)
    assert (code, out) == (2, "")
    assert "line 1 is what other handed in, and it says that it is of 'box'" in err
    code, _, err = run("seal", bundle, "--host", "box", "--host", "other", stdin=lines)
    assert (code, "stdin has 1 lines, and --host names 2 hosts" in err) == (2, True)
    code, _, err = run("seal", bundle, "--host", "box", stdin=lines * 2)
    assert (code, "stdin has 2 lines, and --host names 1 hosts" in err) == (2, True)
    code, _, err = run("seal", bundle, "--host", "box", "--host", "box", stdin=lines * 2)
    assert (code, "is given twice" in err) == (2, True)
    assert bundles.read_runs(bundle) == []


def test_same_host_twice(tmp_path):
    """Two records of one host become one directory, and what it says is counted as the figures of two."""
    bundle = new_bundle(tmp_path, plan())
    (handed,) = collected(bundle, tmp_path)
    with pytest.raises(IronbenchError, match="box handed in twice"):
        bundles.seal_collected(bundle, [handed, handed])


def test_flame_graphs_take_the_inventorys_name(tmp_path, run):
    made = make()
    bundle = own_bundle(tmp_path, made)
    (handed,) = recording(made, made.runs[0])
    line = msgspec.json.encode(handed)
    code, _, err = run("flamegraph", "seal", bundle, "--host", "other", stdin=line)
    assert (code, "it says that it is of 'box'" in err) == (2, True)
    code, _, err = run("flamegraph", "seal", bundle, "--host", "box", stdin=line)
    assert (code, err) == (0, "")


def test_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    """A header may say anything: 8 GiB of stacks that are not there, and 300 MiB that are, in 300 kB."""
    bundle = new_bundle(tmp_path)
    (handed,) = collected(bundle, tmp_path)
    for size, content in ((8 * 2**30 - 1, b""), (300 * 2**20, bytes(300 * 2**20))):
        member = tarfile.TarInfo("idle.7.folded")
        member.size = size
        bomb = gzip.compress(member.tobuf(tarfile.USTAR_FORMAT) + content, 1)
        with pytest.raises(IronbenchError, match=r"its member 'idle\.7\.folded' has \d+ bytes"):
            bundles.seal_collected(bundle, [replace(handed, archive=bomb)])
    assert bundles.read_runs(bundle) == []
