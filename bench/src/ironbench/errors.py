"""The one exception that the command line turns into one sentence."""


class IronbenchError(Exception):
    """Bad input or a fault of the environment.

    The message is one sentence that says what is wrong and how to mend it. The CLI prints it as
    ``ironbench: MESSAGE`` and exits with ``status``; nothing has been changed by then unless a subclass says so.
    """

    status = 2
    """Exit status of the command."""
