"""The connection that stays at hand: one for one user, and none with anything left in it."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.pool import QueuePool

from app.db import Storage
from app.db.lending import Lender
from app.db.tables import marks


def _session(connection: Connection) -> int:
    return id(connection.connection.dbapi_connection)


def test_same_connection_is_lent_again(storage: Storage) -> None:
    lender = Lender(storage.engine)
    with lender.lent() as connection:
        first = _session(connection)
    with lender.lent() as connection:
        assert _session(connection) == first
    lender.close()


def test_who_comes_meanwhile_has_another_one(storage: Storage) -> None:
    lender = Lender(storage.engine)
    with lender.lent() as one, lender.lent() as other:
        assert _session(one) != _session(other)
    lender.close()


def test_it_comes_back_without_a_transaction(storage: Storage) -> None:
    lender = Lender(storage.engine)
    with lender.lent() as connection:
        connection.execute(insert(marks).values(name="left", updated_at=1))
    with lender.lent() as connection:
        assert not connection.in_transaction()
        assert connection.execute(select(marks.c.name)).all() == []
    lender.close()


def test_after_an_error_nothing_of_it_is_left(storage: Storage) -> None:
    lender = Lender(storage.engine)

    def fail() -> None:
        with lender.lent() as connection:
            connection.execute(insert(marks).values(name="left", updated_at=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with lender.lent() as connection:
        assert connection.execute(select(marks.c.name)).all() == []
    lender.close()


def test_closed_it_keeps_nothing_of_the_pool(storage: Storage) -> None:
    lender = Lender(storage.engine)
    pool = storage.engine.pool
    assert isinstance(pool, QueuePool)
    before = pool.checkedout()
    with lender.lent(), lender.lent():
        assert pool.checkedout() == before + 2
    assert pool.checkedout() == before + 1
    lender.close()
    assert pool.checkedout() == before


def test_end_does_not_wait_for_ever_for_who_has_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.lending._PATIENCE", 0.01)
    lender = Lender(storage.engine)
    with lender.lent() as connection:
        lender.close()
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    lender.close()
