"""`kapok-node run`: builds the node from its folder and keeps its link until SIGTERM or SIGINT."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from audit_ledger.before import begun, finish
from audit_ledger.party.home import Home
from audit_ledger.party.process import settle
from audit_ledger.tree import leaf_hash
from hospital_node.answering import Answering, Surroundings
from hospital_node.config import Config
from hospital_node.counting import InstalledPlans, Plans
from hospital_node.dataset import DATASET_FILE, read_dataset
from hospital_node.errors import InvalidConfig
from hospital_node.journal import JOURNAL_FILE, Journal
from hospital_node.link import Link
from hospital_node.logs import log
from hospital_node.policy import PEERS_FILE, POLICY_FILE, read_policy
from hospital_node.records.codes import CodeMap
from hospital_node.records.errors import InvalidSchema
from hospital_node.records.residents import KEY_FILE
from hospital_node.sources.mapping import SOURCE_FILE, read_source
from hospital_node.tables.declared import FOLDER, declared
from hospital_node.trace import Trace

_MEGABYTE = 1 << 20


def has_room(home: Path, min_free_mb: int) -> Callable[[], bool]:
    return lambda: shutil.disk_usage(home).free >= min_free_mb * _MEGABYTE


def plans_of(home: Path, config: Config) -> Plans:
    """The hospital's own database where `source.toml` names one, else the imported records. Raises RecordsError."""
    if not (home / SOURCE_FILE).exists():
        return InstalledPlans(home / "records")
    from hospital_node.sources.plans import DatabasePlans  # here, with the parser and the columns that only a database needs

    return DatabasePlans(home, read_source(home / SOURCE_FILE), ZoneInfo(config.zone), CodeMap.read())


def build(home: Path, trace: Path | None = None) -> Answering:
    """The node over its folder, with the real clock and the operating system's randomness. Raises NodeError or LedgerError."""
    party = Home(home)
    if finish(party):
        log.info("next log begun")
    config, follower = Config.read(home), begun(party)
    given = Surroundings(
        identity=party.key("identity"),
        plans=plans_of(home, config),
        policy=read_policy(home),
        clock=lambda: int(time.time()),
        random=os.urandom,
        has_room=has_room(home, config.min_free_mb),
        trace=Trace(trace),
        dataset=read_dataset(home),
        tables=declared(home),
    )
    return Answering(config, follower, journal_of(home), given)


def journal_of(home: Path) -> Journal:
    """The journal; one that still holds the log before, which `before/` holds too, goes on with the present one."""
    journal, before = Journal(home / JOURNAL_FILE), Home(home / "before")
    first = journal.first_entry()
    if first and before.has("trust.policy") and leaf_hash(first[0]) == before.trust().entry0:
        journal.begin_next_log()
    return journal


@dataclass(slots=True)
class Files:
    """Reads policy, peers and dataset again when IT has changed one; a file that is wrong changes nothing but the log."""

    home: Path
    answering: Answering
    _seen: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        self._seen = self._stamps()

    def __call__(self) -> None:
        found = self._stamps()
        if found == self._seen:
            return
        self._seen = found
        try:
            self.answering.adopt_policy(read_policy(self.home), read_dataset(self.home), declared(self.home))
        except (InvalidConfig, InvalidSchema) as error:
            log.error("file not adopted", code=error.code)
        else:
            log.info("policy adopted")

    def _stamps(self) -> tuple[int, ...]:
        paths = [
            *(self.home / name for name in (POLICY_FILE, PEERS_FILE, DATASET_FILE, KEY_FILE)),
            *sorted((self.home / FOLDER).glob("*.toml")),
        ]
        return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def run(home: Path, trace: Path | None) -> None:
    """Returns after a signal; the journal is closed then. Where the followed log is closed it goes on with the next one."""
    has_next = True
    while has_next:
        answering = build(home, trace)
        log.info("started", size=answering.follower.size)
        try:
            has_next = asyncio.run(_serve(home, answering))
        finally:
            answering.preparing.close()
            answering.counts.close()
            answering.journal.close()


async def _serve(home: Path, answering: Answering) -> bool:
    """Whether it ended because there is a next log."""
    link = Link(Home(home), answering, Files(home, answering), random.SystemRandom().random)
    settle()
    task = asyncio.create_task(link.run())
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    return link.has_next
