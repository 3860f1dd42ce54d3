"""The text reports of sar 12 (``sar -f FILE -u ALL -P ALL`` and the like), in any locale's clock.

A report is a heading and sections; a section is a row of column names, repeated now and then, rows
of figures, each with the time at which its interval ended, and rows of averages. Sections with one
figure a column and time are kept; of those with one row an item only the CPUs'.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ironbench.collect.lines import fault, quoted, read_lines
from ironbench.collect.sar import DAY_S, SECOND_NS, CpuColumns, CpuSample, SarFile, Timed

if TYPE_CHECKING:
    from ironbench.errors import IronbenchError

CPU = ("CPU", "%usr", "%nice", "%sys", "%iowait", "%steal", "%irq", "%soft", "%guest", "%gnice", "%idle")
"""The columns of ``-u ALL -P ALL``."""
PLAIN = {
    "proc/s": "-w",
    "runq-sz": "-q",
    "pgpgin/s": "-B",
    "kbmemfree": "-r",
    "totsck": "-n SOCK",
    "active/s": "-n TCP",
    "atmptf/s": "-n ETCP",
}
"""First column of the other sections that are kept -> the option that makes it."""

_ROUNDING = 0.1
"""Points by which the CPU's ten shares of two decimals may miss 100."""
_MARKS = {"AM": 0, "PM": 12}

_HEADING = re.compile(r"Linux (\S+) \((.*?)\)\s+(\S+)\s+(\S+)\s+\(([0-9]{1,5}) CPUs?\)")
_DATES = (
    (re.compile(r"(20[0-9]{2})-([0-9]{2})-([0-9]{2})"), (1, 2, 3)),  # S_TIME_FORMAT=ISO
    (re.compile(r"([0-9]{2})/([0-9]{2})/(20[0-9]{2}|[0-9]{2})"), (3, 1, 2)),  # C, en_US
    (re.compile(r"([0-9]{2})\.([0-9]{2})\.(20[0-9]{2}|[0-9]{2})"), (3, 2, 1)),  # de, ru, ...
)
_TIMED = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?: (AM|PM))?\s+(.+)")
_AVERAGE = re.compile(r"[^\W\d_][^:0-9]{0,20}:\s+(.+)")
"""sar translates the word; French has a space before the colon."""
_FIGURE = re.compile(r"-?[0-9]{1,15}(?:[.,][0-9]{1,6})?")
_RESTART = "LINUX RESTART"
_COMMENT = "COM "


def parse(raw: bytes, name: str) -> SarFile:
    """Read a report, whole or several of the same host one after the other.

    Times are taken as they stand: the report does not tell its time zone. A date like 01/02/2026 is
    read as month/day, as C and en_US write it. Raises IronbenchError that names the file and the line
    when the text is something else, is cut off, or contradicts itself.
    """
    lines = read_lines(raw, name)
    reader = _Reader(name)
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.read(number, line.strip())
    return reader.finish(len(lines))


class _Section:
    """Where the reader stands in one section."""

    def __init__(self, columns: tuple[str, ...], line: int) -> None:
        self.columns = columns
        self.line = line
        self.kept = columns == CPU or columns[0] in PLAIN
        self.last_s: int | None = None
        """Time of the row before, seconds since 1970 by the report's clock."""
        self.start_s = 0
        """Of the interval that is being read."""
        self.cpus: dict[str, int] = {}
        """CPU -> line, of the interval that is being read."""
        self.all_cpus: set[str] | None = None
        self.averaged = False


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.line = 0
        self.file: SarFile | None = None
        self.heading = ""
        self.midnight_s = 0
        self.sections: dict[tuple[str, ...], _Section] = {}
        self.section: _Section | None = None

    def read(self, number: int, text: str) -> None:
        self.line = number
        if text.startswith("Linux "):
            self._heading(text)
            return
        if self.file is None:
            raise self._fault(f"a report of sar starts with `Linux RELEASE (HOST) DATE`, not {quoted(text)}")
        timed = _TIMED.fullmatch(text)
        averaged = None if timed else _AVERAGE.fullmatch(text)
        if timed and timed[5].startswith(_RESTART):
            self._restart(self._seconds(timed))
        elif timed and timed[5].startswith(_COMMENT):
            self.file.notes.append(f"a comment in line {number}: {quoted(timed[5][len(_COMMENT) :])}")
        elif timed:
            self._row(timed[5].split(), self._seconds(timed))
        elif averaged:
            self._row(averaged[1].split(), None)
        else:
            raise self._fault(f"{quoted(text)} is no row of a report of sar")

    def finish(self, lines: int) -> SarFile:
        self.line = lines
        if self.file is None:
            raise self._fault("there is no report of sar in it")
        kept = [section for section in self.sections.values() if section.kept]
        for section in kept:
            if not section.averaged:
                raise self._fault(
                    f"the report ends before the averages of the section in line {section.line}: it was cut off"
                )
        if not self.sections:
            raise self._fault("the report has no section: it was cut off")
        return self.file

    # --- parts of a report ---

    def _heading(self, text: str) -> None:
        match = _HEADING.fullmatch(text)
        if match is None:
            raise self._fault(f"{quoted(text)} is not the heading of a report of sar")
        if self.file is None:
            self.heading = text
            self.midnight_s = self._midnight(match[3])
            self.file = SarFile(host=match[2], kernel=match[1], cpus=int(match[5]), clock="local")
        elif text != self.heading:
            raise self._fault("a report of another day or host starts here; give each its own file")
        self.section = None

    def _midnight(self, date: str) -> int:
        for pattern, (year, month, day) in _DATES:
            match = pattern.fullmatch(date)
            if match:
                full = int(match[year]) + (2000 if len(match[year]) == 2 else 0)
                try:
                    return int(datetime(full, int(match[month]), int(match[day]), tzinfo=UTC).timestamp())
                except ValueError:
                    break
        raise self._fault(
            f"{quoted(date)} is no date that can be read; make the report with S_TIME_FORMAT=ISO"
        )

    def _seconds(self, match: re.Match[str]) -> int:
        hour, minute, second = int(match[1]), int(match[2]), int(match[3])
        mark = match[4]
        if minute > 59 or second > 60 or hour > 23 or (mark and not 1 <= hour <= 12):
            raise self._fault(f"{match[1]}:{match[2]}:{match[3]} {mark or ''}".rstrip() + " is no time")
        if mark:
            hour = hour % 12 + _MARKS[mark]
        return self.midnight_s + 3600 * hour + 60 * minute + second

    def _restart(self, seconds: int) -> None:
        assert self.file is not None
        note = f"the machine restarted within this record (line {self.line})"
        if note not in self.file.notes:
            self.file.notes.append(note)
        for section in self.sections.values():
            if section.last_s is not None:
                self._complete(section)
                section.last_s = self._moved_on(section, seconds)
        self.section = None

    def _row(self, tokens: list[str], seconds: int | None) -> None:
        if not any(_FIGURE.fullmatch(token) for token in tokens):
            self._columns(tuple(tokens), seconds)
            return
        section = self.section
        if section is None:
            raise self._fault("figures come here and no names of columns before them")
        if not section.kept:
            return
        if len(tokens) != len(section.columns):
            raise self._fault(f"{len(tokens)} figures for the {len(section.columns)} columns of this section")
        if seconds is None:
            self._average(section, tokens)
        else:
            self._figures(section, tokens, seconds)

    def _columns(self, columns: tuple[str, ...], seconds: int | None) -> None:
        assert self.file is not None
        section = self.sections.get(columns)
        if section is None:
            section = self.sections[columns] = _Section(columns, self.line)
            if not section.kept:
                self.file.notes.append(
                    f"not read: the section of line {self.line}, {quoted(' '.join(columns))}"
                    + ("; of the CPUs' only that of -u ALL is" if columns[0] == "CPU" else "")
                )
        if section.kept and seconds is not None:
            if section.averaged and section.last_s is None:
                raise self._fault("averages come before the rows that they are of")
            self._complete(section)
            section.last_s = self._moved_on(section, seconds)
            section.averaged = False
        self.section = section

    def _figures(self, section: _Section, tokens: list[str], seconds: int) -> None:
        assert self.file is not None
        if section.last_s is None:
            raise self._fault(
                "figures come here and the section's start, the time of its columns, is missing"
            )
        until = self._moved_on(section, seconds)
        if section.columns == CPU:
            self._cpu(section, tokens, until)
            return
        if until == section.last_s:
            raise self._fault("this time has a row already")
        for column, token in zip(section.columns, tokens, strict=True):
            timed = Timed(section.last_s * SECOND_NS, until * SECOND_NS, self._figure(token))
            self.file.series.setdefault(column, []).append(timed)
        section.last_s = until

    def _cpu(self, section: _Section, tokens: list[str], until: int) -> None:
        assert self.file is not None
        assert section.last_s is not None
        if until != section.last_s:
            self._complete(section)
            section.start_s, section.last_s = section.last_s, until
        elif not section.cpus:
            raise self._fault("this time has a row already")
        use = self._use(tokens)
        if use.cpu in section.cpus:
            raise self._fault(f"this time has a row of CPU {use.cpu} in line {section.cpus[use.cpu]} already")
        section.cpus[use.cpu] = self.line
        if use.cpu != "all":
            self.file.cpu.append(
                CpuSample(
                    cpu=int(use.cpu), from_ns=section.start_s * SECOND_NS, until_ns=until * SECOND_NS, use=use
                )
            )

    def _average(self, section: _Section, tokens: list[str]) -> None:
        assert self.file is not None
        self._complete(section)
        if section.last_s is None:
            raise self._fault("averages come before the rows that they are of")
        section.averaged = True
        if section.columns == CPU:
            use = self._use(tokens)
            if use.cpu != "all":
                self.file.average_usr.setdefault(int(use.cpu), []).append(use.usr)
            return
        for column, token in zip(section.columns, tokens, strict=True):
            self.file.averages.setdefault(column, []).append(self._figure(token))

    def _complete(self, section: _Section) -> None:
        """Check that the interval that ends here has a row of every CPU."""
        if not section.cpus:
            return
        if section.all_cpus is None:
            section.all_cpus = set(section.cpus)
        elif section.all_cpus != set(section.cpus):
            odd = ", ".join(sorted(section.all_cpus ^ set(section.cpus))[:4])
            raise self._fault(f"the interval before this line is not of the same CPUs as the first ({odd})")
        section.cpus = {}

    def _use(self, tokens: list[str]) -> CpuColumns:
        cpu = tokens[0]
        if cpu != "all" and not re.fullmatch("[0-9]{1,5}", cpu):
            raise self._fault(f"{quoted(cpu)} is no CPU")
        shares = [self._figure(token) for token in tokens[1:]]
        if any(shares) and abs(sum(shares) - 100) > _ROUNDING:
            raise self._fault(f"the shares of CPU {cpu} add up to {sum(shares):.2f} %, not to 100")
        if min(shares) < 0:
            raise self._fault(f"a share of CPU {cpu} is negative")
        usr, nice, sys, iowait, steal, irq, soft, guest, gnice, idle = shares
        return CpuColumns(
            cpu=cpu, usr=usr, nice=nice, sys=sys, iowait=iowait, steal=steal, irq=irq, soft=soft,
            guest=guest, gnice=gnice, idle=idle,
        )  # fmt: skip

    def _figure(self, token: str) -> float:
        if not _FIGURE.fullmatch(token):
            raise self._fault(f"{quoted(token)} is no figure")
        return float(token.replace(",", "."))

    def _moved_on(self, section: _Section, seconds: int) -> int:
        """Put a time of day after the section's last one, past midnight if need be.

        Raises IronbenchError when it went back by less than half a day: that is no midnight.
        """
        if section.last_s is None:
            return seconds
        days = (section.last_s - self.midnight_s) // DAY_S
        seconds += days * DAY_S
        if seconds >= section.last_s:
            return seconds
        if section.last_s - seconds < DAY_S // 2:
            raise self._fault("the time goes back here")
        return seconds + DAY_S

    def _fault(self, what: str) -> IronbenchError:
        return fault(self.name, self.line, what)
