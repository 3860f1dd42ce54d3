"""What the tests of several parts share."""

import pytest
from ironbench.cli import main


@pytest.fixture
def run(capsys):
    """Run a command in this process; return (exit status, stdout, stderr)."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
