import pytest
from ironbench.load.lag import split


@pytest.mark.parametrize(
    ("due", "noticed", "free", "sent", "own", "system"),
    [
        (100, 150, 50, 153, 53, 0),  # a connection was free: the timer's latency
        (100, 150, 400, 405, 55, 250),  # it waited for a busy connection
        (100, 600, 50, 603, 503, 0),  # the generator stood still with a connection free
        (100, 600, 595, 598, 498, 0),  # it stood still and read the waiting answer first
        (300, 600, 650, 655, 305, 50),  # its backlog, behind a connection that is busy again
        (100, 100, 100, 100, 0, 0),
    ],
)
def test_split(due, noticed, free, sent, own, system):
    lag = split(due, noticed, free, sent)

    assert (lag.own, lag.system) == (own, system)
    assert lag.own + lag.system == sent - due
