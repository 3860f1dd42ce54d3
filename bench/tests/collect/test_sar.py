from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from ironbench.collect import sar
from ironbench.errors import IronbenchError

from .truth import ns, sar_json

FIXTURES = Path(__file__).with_name("fixtures")


def test_only_samples_whose_whole_second_lies_in_the_window_count():
    """Load from 10.05 s to 14.2 s: the samples stamped 11 to 14 are its seconds 10-11 to 13-14."""
    text = sar_json(
        {0: lambda second: {"usr": 80, "soft": 5} if 11 <= second <= 14 else {"usr": 1}}, until=20
    )
    (core,) = sar.core_use(text, ns(10.05), ns(14.2))
    assert core.usr == pytest.approx(80)
    assert core.soft == pytest.approx(5)
    assert core.busy == pytest.approx(85)
    assert core.idle == pytest.approx(15)


def test_the_articles_reading_is_of_the_whole_record():
    text = sar_json({0: lambda second: {"usr": 80} if 11 <= second <= 14 else {}}, until=20)
    (core,) = sar.core_use(text, ns(10.05), ns(14.2))
    assert core.usr_whole_record == pytest.approx(16)


def test_busy_is_all_but_idle_iowait_and_steal():
    use = {
        "usr": 1, "nice": 2, "sys": 4, "iowait": 8, "steal": 16, "irq": 3, "soft": 5, "guest": 6, "gnice": 7,
    }  # fmt: skip
    (core,) = sar.core_use(sar_json({3: lambda _: use}, until=20), ns(10), ns(14))
    assert core.cpu == 3
    assert core.busy == pytest.approx(28)
    assert (core.iowait, core.steal, core.irq) == (8, 16, 3)


def test_each_cpu_has_its_own_line():
    text = sar_json({0: lambda _: {"usr": 10}, 1: lambda _: {"usr": 90}}, until=20)
    assert [(c.cpu, c.usr) for c in sar.core_use(text, ns(10), ns(14))] == [(0, 10.0), (1, 90.0)]


@pytest.mark.parametrize("stamp", [{"utc": 1}, {"tz": "UTC"}])
def test_both_forms_of_sadf_are_read(stamp):
    """Debian 12 has sysstat 12.6, Debian 13 has 12.7."""
    assert sar.cpu_samples(sar_json({0: lambda _: {}}, until=2, **stamp))[0].until_ns == ns(1)


@pytest.mark.parametrize("stamp", [{"utc": 0}, {"tz": "CEST"}])
def test_local_time_is_refused(stamp):
    with pytest.raises(IronbenchError, match="not in UTC"):
        sar.cpu_samples(sar_json({0: lambda _: {}}, until=2, **stamp))


def test_a_record_without_the_window_is_refused():
    with pytest.raises(IronbenchError, match="no whole sample of the window"):
        sar.core_use(sar_json({0: lambda _: {}}, until=9), ns(10), ns(14))


def test_the_scheduler_in_the_window_and_in_the_whole_record():
    scheduler = {
        "queue": lambda second: {"runq-sz": 9 if second == 13 else 12 if second == 3 else 1, "blocked": 7},
        "process-and-context-switch": lambda second: {"proc": 5.0, "cswch": 100.0 * second},
    }
    text = sar_json({0: lambda _: {}}, until=20, scheduler=scheduler)
    found = sar.system_use(text, ns(10.05), ns(14.2))
    assert found
    assert found.samples == 4
    assert found.runq_sz
    assert (found.runq_sz.mean, found.runq_sz.max) == (3, 9)
    assert (found.runq_sz.mean_whole_record, found.runq_sz.max_whole_record) == (1.95, 12)
    assert found.cswch_per_s
    assert (found.cswch_per_s.mean, found.cswch_per_s.max) == (1250, 1400)
    assert (found.cswch_per_s.mean_whole_record, found.cswch_per_s.max_whole_record) == (1050, 2000)


def test_a_record_without_the_scheduler_has_none_of_it():
    assert sar.system_use(sar_json({0: lambda _: {}}, until=20), ns(10), ns(14)) is None
    only_queue = sar_json({0: lambda _: {}}, until=20, scheduler={"queue": lambda _: {"runq-sz": 2}})
    found = sar.system_use(only_queue, ns(10), ns(14))
    assert found
    assert found.cswch_per_s is None


def test_something_else_is_refused():
    with pytest.raises(IronbenchError, match="not sadf's JSON"):
        sar.cpu_samples(b'{"sysstat": {}}')


def test_a_real_record_is_read():
    """From a container on a machine with two CPUs, sysstat 12.7.5: five intervals."""
    text = gzip.decompress((FIXTURES / "sar.json.gz").read_bytes())
    samples = sar.cpu_samples(text)
    assert {s.cpu for s in samples} == {0, 1}
    assert all(s.until_ns - s.from_ns == sar.SECOND_NS for s in samples)
    assert all(
        s.use.busy + s.use.idle + s.use.iowait + s.use.steal == pytest.approx(100, abs=0.1) for s in samples
    )
