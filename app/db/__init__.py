"""The database: engine, transactions, tables. One code path for SQLite and PostgreSQL.

This room knows how to open, lock and read the clock of the database, and must not know what a job
is for.
"""

from app.db.engine import Storage, WriteLock
from app.db.grouping import GroupCommit
from app.db.schema import check_schema, upgrade_schema

__all__ = ["GroupCommit", "Storage", "WriteLock", "check_schema", "upgrade_schema"]
