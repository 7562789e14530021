"""Writes what the drill found, with the date and the machine, and nothing of where that is."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tools.drill.trial import Verdict

FILE = Path(__file__).parents[2] / "docs" / "reliability.md"

INTRODUCTION = """\
# Reliability

What happens to webhooks when everything around them fails, measured. `make drill` writes this
page; run it again with `make drill`, or in a minute with `make drill DRILL_ARGS="--seconds 60"`.
It exits with 1 if a single accepted event is lost.

## The drill

The service runs as its own processes: `dc-relay serve` on SQLite, on PostgreSQL one web with two
processes and two workers. Signed webhooks are posted at a steady pace; like Amplience, the sender
posts an event again when it is not answered 2xx, and now and then posts one twice at the same
moment. Nine in ten are publications to forward, one in ten is a new item to localize; one in nine
publications is a newer one of an item that was published before. Meanwhile, all at random:

* every 3 to 8 seconds one of the processes is ended by `kill -9`: a web process, a worker, or
  their parent;
* PostgreSQL is stopped without a checkpoint every 15 seconds, and is away for a second or more;
* about one call in eight to Amplience's APIs and to the downstream is answered 500, 503 or 429,
  cut off, left hanging, or carried out and then cut off;
* every publication goes to two destinations, and one of them answers nothing but 503 for 3 of
  every 18 seconds. Its breaker opens, holds its jobs back for 10, 20, 40 … seconds, and then lets
  them out slowly; so its delays are long on purpose, and those of the steady one must not be.

Then all trouble ends, and when no job is left to do the drill counts. It does not ask the service:
an event counts as **acted on** when both destinations got a message of that publication, or of a
newer one of the same item, or when the item's variants exist. **Lost** is what was answered 2xx
and not acted on. **Sent more than once** is what a destination got twice: it took a message and
its answer was lost, or the process that sent it was killed before it could write that down. Each
repeat carries the `webhook-id` of the first, so that the receiver can tell.
"""
BROKEN = """
## Would it notice?

The last column is the same drill with a fault built in (`make drill DRILL_ARGS=--break-it`,
`tools/drill/broken.py`): the event is committed first and its jobs {between} ms later in a second
transaction, as by services that write an event and then put a message on a queue. Only web
processes are killed, every 1 to 2 seconds, and events come faster. The sender's repeat does not
help, because it is taken for a duplicate. The drill finds the lost events.
"""


def line(name: str, show: Callable[[Verdict], object], verdicts: Sequence[Verdict]) -> str:
    """One row of the table."""
    return f"| {name} | " + " | ".join(str(show(each)) for each in verdicts) + " |"


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


def percentile(values: Sequence[float], part: float) -> float:
    """The value that such a part of the sorted values do not exceed."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0.0


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


def table(verdicts: Sequence[tuple[str, Verdict]]) -> str:
    """The numbers, one column for each trial."""
    found = [verdict for _, verdict in verdicts]
    return "\n".join(
        [
            "| | " + " | ".join(title for title, _ in verdicts) + " |",
            "| --- " + "| --- " * len(verdicts) + "|",
            *(line(name, show, found) for name, show in ROWS),
        ]
    )


def machine(verdicts: Sequence[Verdict]) -> str:
    """When and on what it was measured."""
    versions = {each.store: each.version for each in verdicts}
    stores = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {platform.system()} with {os.cpu_count()}"
        f" cores, Python {platform.python_version()}, {stores}. Sender, pretend Amplience and the"
        " service on both databases shared them."
    )


def write(sound: Sequence[Verdict], broken: Verdict | None, *, between: float) -> None:
    """Write the page."""
    columns = [(each.store, each) for each in sound]
    if broken:
        columns.append((f"broken on purpose, {broken.store}", broken))
    text = [INTRODUCTION, "## What it found", "", machine(sound), "", table(columns), ""]
    if broken:
        text.append(BROKEN.lstrip("\n").format(between=round(between * 1000)))
    FILE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
