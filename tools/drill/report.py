"""How the drill's findings are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools import report
from tools.drill.trial import Verdict
from tools.report import percentile

INTRODUCTION = """\
An event is **acted on** when both destinations got a message of that publication, or of a newer one
of the same item, or when the item's variants exist. **Lost** is what was answered 2xx and not acted
on: the emulator and the downstream are asked, not the service. **Sent more than once** is what a
destination got twice: it took a message and its answer was lost, or the process that sent it was
killed before it could record that. Each repeat carries the `webhook-id` of the first.
"""
BROKEN = """\
The column "broken on purpose" has a fault built in (`tools/drill/broken.py`): webhooks are answered
before they are stored. The drill must find lost events there.
"""


def killed(verdict: Verdict) -> str:
    """How many processes were killed, by what they were."""
    found = verdict.counted
    return f"{found['web']} web, {found['worker']} worker, {found['serve']} parent"


def refused(verdict: Verdict) -> str:
    """How many posts were not taken, by their answer."""
    found = {name: count for name, count in verdict.posts.items() if name not in ("200", "202")}
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "none"


def seconds(value: float | None) -> str:
    """A time for people."""
    return "did not end" if value is None else f"{value:.1f} s"


def delay(destination: str, part: float) -> Callable[[Verdict], str]:
    """How to show a percentile of the time from a publication's 2xx to its message."""
    return lambda verdict: seconds(percentile(verdict.delays[destination], part))


ROWS: tuple[tuple[str, Callable[[Verdict], object]], ...] = (
    ("trouble for", lambda each: seconds(each.seconds)),
    ("processes killed", killed),
    ("database crashes", lambda each: each.restarts or "none"),
    ("calls that met a fault", lambda each: each.counted["faults"]),
    ("posts not taken", refused),
    ("longest until an event was taken", lambda each: seconds(each.longest_refusal)),
    ("events sent", lambda each: each.events),
    ("**accepted** (2xx)", lambda each: each.accepted),
    ("**acted on**", lambda each: each.accepted - len(each.lost)),
    ("**lost**", lambda each: f"**{len(each.lost)}**"),
    ("sent more than once", lambda each: len(each.twice)),
    ("… of these with another `webhook-id`", lambda each: len(each.changed_id)),
    ("steady destination: half of the messages within", delay("steady", 0.5)),
    ("steady destination: 99 % within", delay("steady", 0.99)),
    ("steady destination: longest delay", delay("steady", 1)),
    ("flapping destination: half of the messages within", delay("flapping", 0.5)),
    ("flapping destination: longest delay", delay("flapping", 1)),
    ("from the end of trouble until all was done", lambda each: seconds(each.recovery)),
)


def table(verdicts: Sequence[tuple[str, Verdict]]) -> list[str]:
    """The figures, one column for each trial."""
    rows = [[name, *(str(show(each)) for _, each in verdicts)] for name, show in ROWS]
    return report.table(("", *(title for title, _ in verdicts)), rows)


def write(sound: Sequence[Verdict], broken: Verdict | None) -> None:
    """Write build/drill.md."""
    columns = [(each.store, each) for each in sound]
    if broken:
        columns.append((f"broken on purpose, {broken.store}", broken))
    report.write("drill", "Drill", [INTRODUCTION, *table(columns), BROKEN])
