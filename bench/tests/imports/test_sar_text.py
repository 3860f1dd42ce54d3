"""sar's text reports: clocks, locales, repeated headers, what is left out, and what is refused."""

import pytest
from ironbench.collect import sar, sar_text
from ironbench.errors import IronbenchError

from .logs import cpu_section, plain_section, sar_report

TASKS = ("proc/s", "cswch/s")
QUEUE = ("runq-sz", "plist-sz", "ldavg-1", "ldavg-5", "ldavg-15", "blocked")
DISK = [
    "12:59:30       tps     rkB/s       DEV",
    "12:59:31      1.00      2.00       sda",
    "Average:      1.00      2.00       sda",
]


def load(cpu, second):
    return (80.0 if 2 <= second <= 5 else 1.0) + cpu


def read(text, window=None):
    return sar.make_report(sar_text.parse(text.encode(), "cpu.txt"), window)


def refused(text, line, what):
    with pytest.raises(IronbenchError, match=rf"^cpu\.txt, line {line}: .*{what}"):
        read(text)


def line_of(text, start):
    return next(n for n, line in enumerate(text.split("\n"), 1) if line.startswith(start))


# --- read --------------------------------------------------------------------------------------


def test_both_readings_of_a_cpu():
    report = read(sar_report(cpu_section(busy=load, average_usr=30.5)), (2, 5))
    one = report.cores[1]
    assert (one.cpu, one.usr, one.soft, one.busy, one.usr_whole_record) == (1, 81, 2, 83, 30.5)
    assert one.idle == pytest.approx(17)


def test_without_a_window_the_whole_record_is_one():
    report = read(sar_report(cpu_section(busy=load)))
    assert (report.window, report.samples) == ((1, 10), 10)
    assert report.cores[0].usr == pytest.approx((4 * 80 + 6 * 1) / 10)


def test_same_figures_as_the_live_path():
    """core_use of sadf's JSON and of the text agree, sample by sample."""
    file = sar_text.parse(sar_report(cpu_section(busy=load)).encode(), "x")
    assert [(s.cpu, s.use.usr, s.until_ns - s.from_ns) for s in file.cpu if s.cpu == 0] == [
        (0, load(0, second), sar.SECOND_NS) for second in range(1, 11)
    ]


def test_queue_and_switches():
    tasks = [(5.0, 389.0), (248.0, 5335.0), (264.0, 2560.0)]
    queue = [(2, 676, 0.5, 1.4, 0.8, 0), (10, 687, 0.5, 1.4, 0.8, 0), (2, 681, 0.6, 1.4, 0.8, 1)]
    text = sar_report(plain_section(TASKS, tasks), plain_section(QUEUE, queue, average=(4, 681, 0, 0, 0, 0)))
    series = {one.name: one for one in read(text).series}
    assert set(series) == {*TASKS, *QUEUE}
    assert series["cswch/s"].max == 5335
    assert series["runq-sz"].values == [2, 10, 2]
    assert series["runq-sz"].mean == pytest.approx(14 / 3)
    assert series["runq-sz"].average == 4


def test_a_window_of_the_series():
    (proc, _) = read(sar_report(plain_section(TASKS, [(1, 1), (2, 2), (6, 6), (9, 9)])), (2, 3)).series
    assert (proc.mean, proc.max, proc.values) == (4, 6, [1, 2, 6, 9])


@pytest.mark.parametrize("start", [46_770, 12 * 3600 - 3, 0, 13 * 3600 - 3])
def test_twelve_hours_are_read_as_twenty_four(start):
    """12:59:30 PM is followed by 01:00:00 PM; 12:00:00 AM is midnight."""
    reports = [read(sar_report(cpu_section(busy=load, clock=clock, start=start))).start for clock in (12, 24)]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("clock", [12, 24])
def test_midnight_is_crossed(clock):
    text = sar_report(cpu_section(busy=load, clock=clock, start=86_395))
    file = sar_text.parse(text.encode(), "x")
    assert all(s.until_ns - s.from_ns == sar.SECOND_NS for s in file.cpu)
    assert read(text, (2, 5)).cores[0].usr == 80


@pytest.mark.parametrize("date", ["2026-05-18", "05/18/2026", "05/18/26", "18.05.2026"])
def test_dates(date):
    assert read(sar_report(cpu_section(), date=date)).start == "2026-05-18T12:59:30"


@pytest.mark.parametrize("average", ["Average:", "Moyenne :", "Durchschn.:", "Среднее:"])
def test_decimal_commas_and_translated_averages(average):
    text = sar_report(cpu_section(busy=load, average=average, average_usr=33.25))
    head, body = text.split("\n", 1)
    report = read(head + "\n" + body.replace(".", ",").replace("Durchschn,", "Durchschn."), (2, 5))
    assert (report.cores[0].usr, report.cores[0].usr_whole_record) == (80, 33.25)


def test_headers_are_repeated_every_page():
    paged, plain = (read(sar_report(cpu_section(busy=load, every=n)), (2, 5)) for n in (3, 1000))
    assert paged == plain


def test_sections_that_take_turns():
    """``sar 1 2`` on a terminal prints all sections of an interval before the next."""
    text = sar_report(
        ["12:00:00    proc/s   cswch/s", "12:00:01      1.00     10.00"],
        ["12:00:00   runq-sz  plist-sz", "12:00:01         3       100"],
        ["12:00:01    proc/s   cswch/s", "12:00:02      2.00     20.00"],
        ["12:00:01   runq-sz  plist-sz", "12:00:02         4       100"],
        ["Average:    proc/s   cswch/s", "Average:      1.50     15.00"],
        ["Average:   runq-sz  plist-sz", "Average:         4       100"],
    )
    series = {one.name: one.values for one in read(text).series}
    assert series == {"proc/s": [1, 2], "cswch/s": [10, 20], "runq-sz": [3, 4], "plist-sz": [100, 100]}


def test_a_restart_is_noted_and_the_averages_of_its_parts_are_not_the_whole():
    before = plain_section(TASKS, [(1, 10), (3, 30)])
    after = plain_section(TASKS, [(8, 80)], start=46_800)
    text = sar_report(before, ["12:59:50       LINUX RESTART\t(2 CPU)"], after)
    report = read(text)
    assert report.notes == ["the machine restarted within this record (line 8)"]
    assert [(one.mean, one.average) for one in report.series] == [(4, None), (40, None)]


def test_cpu_averages_of_two_parts_give_way_to_the_samples():
    first, second = cpu_section(2, busy=load), cpu_section(2, busy=load, start=46_800)
    report = read(sar_report(first, ["12:59:50       LINUX RESTART\t(2 CPU)"], second))
    assert report.cores[0].usr_whole_record == pytest.approx((1 + 80) / 2)


def test_comments_are_noted():
    text = sar_report(plain_section(TASKS, [(1, 10)]), ["12:59:40  COM load starts"])
    assert read(text).notes == ["a comment in line 7: 'load starts'"]


def test_sections_that_are_not_read_leave_a_note_and_no_figure():
    report = read(sar_report(DISK, plain_section(TASKS, [(1, 10)])))
    assert [one.name for one in report.series] == list(TASKS)
    assert report.notes == ["not read: the section of line 3, 'tps rkB/s DEV'"]
    assert read(sar_report(DISK)).samples == 0


def test_cpus_without_all_their_columns_are_not_guessed():
    plain = [
        "12:00:00 CPU %user %nice %system %iowait %steal %idle",
        "12:00:01 all 1.00 0.00 1.00 0.00 0.00 98.00",
    ]
    report = read(sar_report(plain))
    assert report.cores == []
    assert "only that of -u ALL" in report.notes[0]


def test_several_reports_of_one_host_in_one_file():
    text = sar_report(cpu_section(busy=load)) + sar_report(plain_section(TASKS, [(1, 10)] * 10))
    report = read(text)
    assert (len(report.cores), len(report.series), report.samples) == (2, 2, 10)


# --- refused -----------------------------------------------------------------------------------


def test_a_report_that_was_cut_off():
    text = sar_report(cpu_section(busy=load))
    kept = text[: text.index("Average:")]
    refused(kept, kept.count("\n"), "cut off")


def test_a_cpu_that_is_missing_in_one_interval():
    lines = sar_report(cpu_section(busy=load)).split("\n")
    del lines[11]
    refused("\n".join(lines), 12, "not of the same CPUs")


def test_time_that_goes_back():
    lines = sar_report(plain_section(TASKS, [(1, 1), (2, 2), (3, 3)])).split("\n")
    lines[3], lines[4] = lines[4], lines[3]
    refused("\n".join(lines), 5, "goes back")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("     80.00", "     90.00", "add up to"),
        ("     80.00", "     8x.00", "no figure"),
        ("     80.00", "", "10 figures for the 11 columns"),
        ("12:59:33         1", "12:59:33         0", "already"),
        ("12:59:33         1", "12:61:33         1", "is no time"),
        ("2026-05-18", "2026-13-18", "no date"),
        ("2026-05-18", "18 mai", "heading"),
        ("12:59:31       all", "noon           all", "is no row"),
        ("       CPU      %usr", "       CPU      %foo", "2 figures|cut off|no names|averages"),
    ],
)
def test_what_is_no_report_of_sar(old, new, what):
    text = sar_report(cpu_section(busy=load))
    assert old in text
    if what.startswith("2 figures"):
        assert read(text.replace(old, new)).cores == []
        return
    with pytest.raises(IronbenchError, match=rf"^cpu\.txt, line \d+: .*{what}"):
        read(text.replace(old, new, 1))


def test_figures_without_columns():
    text = sar_report(["12:00:01      1.00     10.00"])
    refused(text, 3, "no names of columns")


def test_something_else():
    refused("hello\n", 1, "starts with `Linux")
    refused("", 1, "empty")
    refused("Linux 6.1 (debian) 2026-05-18 _x86_64_ (2 CPU)\n", 1, "no section")


def test_another_day_in_the_same_file():
    text = sar_report(cpu_section()) + sar_report(cpu_section(), date="2026-05-19")
    refused(text, sar_report(cpu_section()).count("\n") + 1, "another day or host")


@pytest.mark.parametrize("window", [(0, 3), (3, 2), (1, 11)])
def test_a_window_that_is_not_there(window):
    with pytest.raises(IronbenchError, match="the samples 1 to 10"):
        read(sar_report(cpu_section()), window)
