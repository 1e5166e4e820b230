"""Prometheus' text format of metrics, version 0.0.4, and the metrics that each process has.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_PROC: Final = Path("/proc/self")


class Sample(NamedTuple):
    """A value of a metric. `suffix` is added to the metric's name."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()
    suffix: str = ""


class MetricText(NamedTuple):
    """A metric and its samples. The name of a counter ends in _total."""

    name: str
    kind: Kind
    help: str
    samples: Iterable[Sample]

    def __str__(self) -> str:
        help_ = self.help.replace("\\", r"\\").replace("\n", r"\n")
        lines = [f"# HELP {self.name} {help_}\n# TYPE {self.name} {self.kind}\n"]
        for value, labels, suffix in self.samples:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
            lines.append(f"{self.name}{suffix}{f'{{{shown}}}' if shown else ''} {float(value)}\n")
        return "".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def of_this_process(namespace: str) -> Iterator[MetricText]:
    """Return the memory, CPU time and open files of this process, where Linux tells them.

    Their names begin with `namespace`, if it is not empty. They are those that Prometheus
    recommends to its client libraries:
    https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
    """
    try:
        # After the command's name, which may hold anything: proc_pid_stat(5), from field 3 on.
        stat = (_PROC / "stat").read_text(errors="replace").rpartition(")")[2].split()
        booted = (_PROC.parent / "stat").read_text().partition("\nbtime ")[2].split()[0]
        open_files = sum(1 for _ in (_PROC / "fd").iterdir())
    except (OSError, IndexError):
        return
    import resource  # Windows has none, and no /proc

    ticks = os.sysconf("SC_CLK_TCK")
    cpu_s = (int(stat[11]) + int(stat[12])) / ticks
    rss = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    started_s = int(booted) + int(stat[19]) / ticks
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most_files = math.inf if limit == resource.RLIM_INFINITY else limit
    begin = f"{namespace}_" if namespace else ""
    found: Sequence[tuple[str, Kind, str, float]] = (
        ("virtual_memory_bytes", "gauge", "Virtual memory in bytes.", int(stat[20])),
        ("resident_memory_bytes", "gauge", "Resident memory in bytes.", rss),
        ("start_time_seconds", "gauge", "Start, in seconds since 1970.", started_s),
        ("cpu_seconds_total", "counter", "User and system CPU time in seconds.", cpu_s),
        ("open_fds", "gauge", "Open file descriptors.", open_files),
        ("max_fds", "gauge", "Limit of open file descriptors.", most_files),
    )
    for name, kind, help_, value in found:
        yield MetricText(f"{begin}process_{name}", kind, help_, [Sample(value)])
