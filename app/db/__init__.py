"""The database: engine, transactions, tables. One code path for SQLite and PostgreSQL."""

from app.db.engine import Storage, WriteLock
from app.db.group_commit import GroupCommit
from app.db.migrate import check_schema, upgrade_schema

__all__ = ["GroupCommit", "Storage", "WriteLock", "check_schema", "upgrade_schema"]
