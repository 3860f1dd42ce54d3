"""What the tests of several parts share."""

import io

import pytest
from ironbench.cli import main
from ironbench.report import write_report
from ironbench.report.document import make_document

from .full_plan import full_bundle


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    """Make a whole plan's bundle with its report; return (bundle, results, document, the terminal's text)."""
    bundle = full_bundle(tmp_path_factory.mktemp("full"))
    results, text = write_report(bundle)
    return bundle, results, make_document(results), text


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command in this process, with bytes on stdin; return (exit status, stdout, stderr)."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
