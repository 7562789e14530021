"""Many rows in one statement: ids in the order of the rows, and what is known adds nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select

from app.db import Storage
from app.db.json_rows import among, insert_rows
from app.db.tables import webhook_events

UNIQUE = ("hub", "event_id")


def row(event_id: str, body: bytes = b'{"a": "\xc3\xa9"}') -> dict[str, Any]:
    return {
        "hub": "main",
        "event_id": event_id,
        "name": 'a "name" \\ {with} %s, ü and :colons',
        "fingerprint": "f",
        "label": None,
        "body": body,
        "received_at": 1,
    }


def stored(storage: Storage) -> dict[int, str]:
    with storage.read() as connection:
        columns = (webhook_events.c.id, webhook_events.c.event_id)
        return {found[0]: found[1] for found in connection.execute(select(*columns))}


def test_ids_come_in_the_order_of_the_rows(storage: Storage) -> None:
    with storage.write() as connection:
        ids = insert_rows(connection, webhook_events, [row(f"e{n}") for n in range(40)])
    assert stored(storage) == {identifier: f"e{n}" for n, identifier in enumerate(ids)}


def test_what_is_known_adds_nothing_and_has_no_id(storage: Storage) -> None:
    with storage.write() as connection:
        insert_rows(connection, webhook_events, [row("b")])
        rows = [row("a"), row("b"), row("c"), row("a")]
        ids = insert_rows(connection, webhook_events, rows, unless_known=UNIQUE)
    assert [identifier is None for identifier in ids] == [False, True, False, True]
    found = stored(storage)
    assert [found[identifier] for identifier in ids if identifier is not None] == ["a", "c"]
    assert len(found) == 3


def test_values_are_stored_as_they_are(storage: Storage) -> None:
    with storage.write() as connection:
        insert_rows(connection, webhook_events, [row("e", bytes(range(256)))])
        found = connection.execute(select(webhook_events)).mappings().one()
    assert found["name"] == row("e")["name"]
    assert found["body"] == bytes(range(256))
    assert found["label"] is None


def test_more_rows_than_one_statement_takes(storage: Storage) -> None:
    with storage.write() as connection:
        ids = insert_rows(connection, webhook_events, [row(f"e{n}") for n in range(1_203)])
        count = connection.execute(select(func.count()).select_from(webhook_events)).scalar_one()
    assert count == len(set(ids)) == 1_203


def test_among_finds_texts_and_numbers(storage: Storage) -> None:
    names = ['a"b', "a'b", "ü", "plain"]
    events = webhook_events.c
    with storage.write() as connection:
        ids = insert_rows(connection, webhook_events, [row(name) for name in names])
        texts = select(events.event_id).where(among(events.event_id, "wanted"))
        assert set(connection.execute(texts, {"wanted": names[:3]}).scalars()) == set(names[:3])
        numbers = select(events.id).where(among(events.id, "wanted"), events.hub == bindparam("h"))
        wanted = {"wanted": ids[:2], "h": "main"}
        assert set(connection.execute(numbers, wanted).scalars()) == set(ids[:2])
        assert not connection.execute(texts, {"wanted": []}).all()
