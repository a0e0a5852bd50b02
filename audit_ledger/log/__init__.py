"""The append path of the log: one SQLite file that decides, and a folder of tiles that follows it."""

from audit_ledger.log.disk import Disk
from audit_ledger.log.store import LogStore

__all__ = ["Disk", "LogStore"]
