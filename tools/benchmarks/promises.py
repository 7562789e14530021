"""The promised figures of this checkout on both databases: see `visit`."""

from __future__ import annotations

from tools import report, service, stores
from tools.benchmarks import stubs
from tools.benchmarks.visit import FIGURES, Visit, visit

ROUNDS = 3
SECONDS = 6.0


def measure(*, brief: bool) -> list[str]:
    rounds, seconds = (1, 2.0) if brief else (ROUNDS, SECONDS)
    found: dict[str, list[Visit]] = {}
    with stubs.running() as outside:
        for kind in stores.KINDS.values():
            with stores.store(kind) as (store, _):
                environ = outside.environment(store.database("relay"))
                service.make_tables(environ)
                found[store.name] = [
                    visit(environ, outside, seconds, service.HERE) for _ in range(rounds)
                ]
    rows = []
    for figure in FIGURES:
        values = ([figure.of(each) for each in visits] for visits in found.values())
        row = [figure.name, *(report.spread(each, figure.digits) for each in values)]
        well = all(figure.holds(visits, 1.0) for visits in found.values())
        judged = figure.absolute is not None
        rows.append([*row, *((figure.bound, report.verdict(well=well)) if judged else ("", ""))])
    return [
        "## What is promised",
        "",
        f"One web process and one worker, webhooks of 1 KB over 64 connections. {rounds} visits of "
        f"about {seconds:.0f} s of load: median (range). What is bound by a ratio is judged beside "
        "another revision: `make compare BASE=…`.",
        "",
        *report.table(("figure", *found, "bound", "ok?"), rows),
    ]
