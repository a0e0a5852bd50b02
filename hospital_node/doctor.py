"""`kapok-node doctor`: what would keep this node from answering, each with what to do. Exit code 3 if anything would."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import typer
from cryptography import x509
from rich.table import Table
from rich.text import Text

from audit_ledger.errors import LedgerError, StaleCheckpoint, Unavailable
from audit_ledger.party.home import Home
from hospital_node.commands import DEFAULT_HOME, OURS, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.config import Config
from hospital_node.dataset import read_dataset
from hospital_node.ledger_at_hand import fetch, followed
from hospital_node.plan.columns import RELATIONS
from hospital_node.policy import read_policy
from hospital_node.records.codes import CodeMap
from hospital_node.records.profile import profile
from hospital_node.records.schema import open_read_only
from hospital_node.running import has_room
from hospital_node.showing import opened
from hospital_node.sources.errors import SlowSource
from hospital_node.sources.mapping import SOURCE_FILE, read_source
from hospital_node.sources.plans import DatabasePlans

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
EXPIRY_DAYS = 14
UNMAPPED_SHARE = 0.05
SLOT_SHARE = 2
"""How many times the reading of a year has to fit into the slot: counting and masking come on top, and some days are slow."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `is_well` None is "could not be checked"."""

    name: str
    is_well: bool | None
    detail: str


def doctor(lang: LangOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Look at clock, link, certificates, disk, files and records. 自检。"""
    with failures(as_json):
        place = home.expanduser()
        config = Config.read(place)
        found = [_guarded(name, look, place, config) for name, look in CHECKS.items()]
        table = Table("", say(lang, "check", "检查"), say(lang, "finding", "结果"))
        for each in found:
            english, _, chinese = each.name.rpartition(" ")
            mark = {True: "[green]✓", False: "[red]✗", None: "[yellow]?"}[each.is_well]
            table.add_row(mark, say(lang, english, chinese), Text(each.detail))
        show([asdict(each) for each in found], as_json, table)
        if any(each.is_well is False for each in found):
            raise typer.Exit(3)


Look = Callable[[Path, Config], tuple[bool | None, str]]


def _guarded(name: str, look: Look, place: Path, config: Config) -> Check:
    try:
        return Check(name, *look(place, config))
    except OURS as error:
        return Check(name, False, str(error))
    except Exception as error:  # noqa: BLE001 (a check that breaks is a finding; its text may quote a record)
        return Check(name, None, type(error).__name__)


def _files(place: Path, config: Config) -> tuple[bool | None, str]:
    read_policy(place), read_dataset(place)
    return True, "config, policy, peers and dataset can be read"


def _trust(place: Path, config: Config) -> tuple[bool | None, str]:
    trust = Home(place).trust()
    origins = {log.key.origin for log in trust.policy.logs}
    return config.origin in origins, f"trusts {', '.join(sorted(origins))}; compare {trust.entry0.hex()[:16]} with the auditor's"


def _certificate(place: Path, config: Config) -> tuple[bool | None, str]:
    path = place / "tls" / "cert.pem"
    if not path.exists():
        return False, "no certificate; run `kapok-node enroll`"
    until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    days = (until - datetime.now(UTC)).days
    return days >= EXPIRY_DAYS, f"valid for {days} days"


def _ledger_and_clock(place: Path, config: Config) -> tuple[bool | None, str]:
    home = Home(place)
    with opened(place) as journal:
        follower = followed(home, journal)
    try:
        fetch(home, config, follower)
    except StaleCheckpoint as error:
        return False, f"this clock is wrong, or the witness does not cosign: {error}"
    except Unavailable as error:
        return None, f"the coordinator cannot be reached: {error}"
    except LedgerError as error:
        return False, str(error)
    seen = follower.accepted.witness_time if follower.accepted else None
    is_admitted = follower.view.authority.active(config.uri) is not None
    detail = f"{follower.size} entries; this clock is {int(time.time()) - (seen or 0)} s after the newest cosignature"
    return is_admitted, detail if is_admitted else "the auditor has not admitted this hospital yet"


def _proxies(place: Path, config: Config) -> tuple[bool | None, str]:
    names = [name for name in PROXIES if os.environ.get(name)]
    return True, f"{', '.join(names)} set: the link goes through it unless no_proxy names its host" if names else "none set"


def _disk(place: Path, config: Config) -> tuple[bool | None, str]:
    free = shutil.disk_usage(place).free >> 20
    return has_room(place, config.min_free_mb)(), f"{free} MB free, {config.min_free_mb} MB wanted"


def _database(place: Path, config: Config) -> tuple[bool | None, str]:
    if not (place / SOURCE_FILE).exists():
        return True, "not used: questions are answered from imported records"
    source = read_source(place / SOURCE_FILE)
    plans = DatabasePlans(place, source, ZoneInfo(config.zone), CodeMap.read())
    if wrong := plans.faults():
        return False, "; ".join(f"{each} [{each.code}]" for each in wrong)
    longest, table = max((plans.rehearsed_s(each), each) for each in source.tables)
    detail = f"the last year of {table} is read in {longest:.2f} s; the slot is {config.slot_of_tables_ms / 1000:g} s"
    is_fast = longest * SLOT_SHARE <= config.slot_of_tables_ms / 1000
    return (
        is_fast,
        detail if is_fast else f"{detail}: raise slot_ms to at least {longest * SLOT_SHARE * 1000:.0f} [{SlowSource.code}]",
    )


def _columns(place: Path, config: Config) -> tuple[bool | None, str]:
    if (place / SOURCE_FILE).exists():
        return None, "not looked at: questions are answered from the database"
    with open_read_only(place / "records") as records:
        rows = records.execute("SELECT table_name, column_name FROM information_schema.columns").fetchall()
    present = {(str(table), str(column)) for table, column in rows}
    missing = list(_missing(present))
    return not missing, f"missing: {', '.join(missing)}" if missing else "every column that a plan reads is there"


def _missing(present: set[tuple[str, str]]) -> Iterator[str]:
    for relation in RELATIONS.values():
        for column in relation.columns:
            if (relation.name, column) not in present:
                yield f"{relation.name}.{column}"


def _unmapped(place: Path, config: Config) -> tuple[bool | None, str]:
    if (place / SOURCE_FILE).exists():
        return None, "not looked at: questions are answered from the database"
    share = profile(place / "records").unmapped_share
    if share is None:
        return None, "no diagnoses"
    return share <= UNMAPPED_SHARE, f"{share:.1%} of diagnoses have no ICD-10 code; the import report names the codes"


CHECKS: dict[str, Look] = {
    "files 配置": _files,
    "trust 信任文件": _trust,
    "certificate 证书": _certificate,
    "ledger, clock 账本与时钟": _ledger_and_clock,
    "proxy 代理": _proxies,
    "disk 磁盘": _disk,
    "database 数据库": _database,
    "columns 数据列": _columns,
    "codes 编码": _unmapped,
}
