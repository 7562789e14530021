"""How times, durations and states are written on the pages. Pure; every text is plain English."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup, escape

from app.events import isoformat

# An en dash, where there is no value.
NOTHING = "\N{EN DASH}"
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"))

# What a person reads for each outcome of an attempt.
OUTCOMES = {
    "succeeded": "succeeded",
    "skipped": "skipped: there was nothing to do",
    "superseded": "stopped: something newer was sent already",
    "look-again": "not there yet, looks again later",
    "retry": "failed, tried again later",
    "failed": "failed, given up",
    "lost": "lost: its worker ended or stood still",
    "released": "given back by a worker that was stopped",
    "late": "ended after another worker had taken over; without effect",
}


def duration(seconds: float | None) -> str:
    """Write a duration shortly: `0.24 s`, `45 s`, `4 min`, `3 h 10 min`, `2 d 4 h`."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    for place, (size, unit) in enumerate(_SPANS):
        if seconds < size:
            continue
        text = f"{int(seconds // size)} {unit}"
        if place + 1 < len(_SPANS):
            smaller, its_unit = _SPANS[place + 1]
            if rest := int(seconds % size // smaller):
                text += f" {rest} {its_unit}"
        return text
    raise AssertionError("60 s and more are minutes")


def at_most(seconds: float | None) -> str:
    """Write a bound: `2.5 s`, `1 min`; a dash for None, and what is more than a day as that."""
    if seconds is None:
        return NOTHING
    if seconds == float("inf"):
        return "> 1 d"
    return f"{seconds:g} s" if seconds < 60 else duration(seconds)


def relative(moment: datetime, now: datetime) -> str:
    """Write how far a moment is from now: `4 min ago`, `in 12 s`, `now`."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    length = duration(round(abs(seconds)) if abs(seconds) < 10 else abs(seconds))
    length = length.replace(".0 s", " s")
    return f"in {length}" if seconds > 0 else f"{length} ago"


def absolute(moment: datetime, now: datetime) -> str:
    """Write a moment in UTC: the time of today, with the date on other days."""
    moment = moment.astimezone(UTC)
    form = "%H:%M:%S" if moment.date() == now.astimezone(UTC).date() else "%d %b %Y %H:%M:%S"
    return moment.strftime(form)


def when(moment: datetime | None, now: datetime) -> Markup:
    """A `<time>` element with the moment and how far it is from now; a dash for None."""
    if moment is None:
        return escape(NOTHING)
    return Markup(
        '<time datetime="{}"><span class="at">{}</span> <span class="ago">{}</span></time>'
    ).format(isoformat(moment), absolute(moment, now), relative(moment, now))


def clock(moment: datetime) -> Markup:
    """A `<time>` element with hours and minutes, in UTC."""
    moment = moment.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(isoformat(moment), f"{moment:%H:%M}")


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2 jobs`, `12,345 jobs`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def event_word(name: str) -> str:
    """An event's name without what all of Amplience's names, or of ours, begin with."""
    return name.removeprefix("dynamic-content.").removeprefix("dc-relay.")


def sentence(text: str) -> str:
    """A text that begins in small letters, as a sentence of its own."""
    return f"{text[:1].upper()}{text[1:]}."
