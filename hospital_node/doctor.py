"""`kapok-node doctor`: what would keep this node from answering, each with what to do. Exit code 3 if anything would."""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import typer
from cryptography import x509
from duckdb import DuckDBPyConnection
from rich.table import Table
from rich.text import Text

from audit_ledger.errors import LedgerError, StaleCheckpoint, Unavailable
from audit_ledger.party.home import Home
from hospital_node.calibrating import calibrated, slot_ms_for
from hospital_node.commands import DEFAULT_HOME, OURS, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.config import Config
from hospital_node.dataset import read_dataset
from hospital_node.error_words import error_in_chinese
from hospital_node.ledger_at_hand import fetch, followed
from hospital_node.plan.columns import RELATIONS
from hospital_node.policy import POLICY_FILE, read_policy
from hospital_node.records.codes import CodeMap
from hospital_node.records.profile import profile
from hospital_node.records.report_text import Lang
from hospital_node.records.residents import Residents, is_tagged
from hospital_node.records.schema import open_read_only
from hospital_node.running import has_room
from hospital_node.showing import opened
from hospital_node.sources.errors import SlowSource
from hospital_node.sources.mapping import SOURCE_FILE, read_source
from hospital_node.tables.declared import declared
from hospital_node.tables.matching import apart
from hospital_node.tables.registering import registered_tables
from protocols.statements import Registration

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
EXPIRY_DAYS = 14
UNMAPPED_SHARE = 0.05
SLOT_SHARE = 2
"""How many times the reading of a year has to fit into the slot: counting comes on top, and some days are slow."""


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
        found = [_guarded(name, look, place, config, lang) for name, (_, look) in CHECKS.items()]
        table = Table("", say(lang, "check", "检查"), say(lang, "finding", "结果"))
        for each in found:
            mark = {True: "[green]✓", False: "[red]✗", None: "[yellow]?"}[each.is_well]
            table.add_row(mark, say(lang, each.name, CHECKS[each.name][0]), Text(each.detail))
        show([asdict(each) for each in found], as_json, table)
        if any(each.is_well is False for each in found):
            raise typer.Exit(3)


Finding = tuple[bool | None, str, str]
"""Whether it is well, and what was found, in English and in Chinese."""
Look = Callable[[Path, Config], Finding]


def _guarded(name: str, look: Look, place: Path, config: Config, lang: Lang) -> Check:
    try:
        is_well, *told = look(place, config)
        return Check(name, is_well, say(lang, *told))
    except OURS as error:
        return Check(name, False, say(lang, str(error), error_in_chinese(str(error))))
    except Exception as error:  # noqa: BLE001 (a check that breaks is a finding; its text may quote a record)
        return Check(name, None, type(error).__name__)


def _files(place: Path, config: Config) -> Finding:
    read_policy(place), read_dataset(place)
    return True, "config, policy, peers and dataset can be read", "配置、策略、医院名单与数据集声明均可读取"


def _trust(place: Path, config: Config) -> Finding:
    trust = Home(place).trust()
    origins = {log.key.origin for log in trust.policy.logs}
    trusted, entry0 = ", ".join(sorted(origins)), trust.entry0.hex()[:16]
    return (
        config.origin in origins,
        f"trusts {trusted}; compare {entry0} with the auditor's",
        f"信任 {trusted}；请与审计方核对 {entry0}",
    )


def _certificate(place: Path, config: Config) -> Finding:
    path = place / "tls" / "cert.pem"
    if not path.exists():
        return False, "no certificate; run `kapok-node enroll`", "没有证书；请运行 kapok-node enroll"
    until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    days = (until - datetime.now(UTC)).days
    return days >= EXPIRY_DAYS, f"valid for {days} days", f"有效期还有 {days} 天"


def _ledger_and_clock(place: Path, config: Config) -> Finding:
    home = Home(place)
    with opened(place) as journal:
        follower = followed(home, journal)
    try:
        fetch(home, config, follower)
    except StaleCheckpoint as error:
        return False, f"this clock is wrong, or the witness does not cosign: {error}", f"本机时钟不准，或见证方未会签：{error}"
    except Unavailable as error:
        return None, f"the coordinator cannot be reached: {error}", f"连不上协调方：{error}"
    except LedgerError as error:
        return False, str(error), f"账本不可信：{error}"
    seen = follower.accepted.witness_time if follower.accepted else None
    is_admitted = follower.view.authority.active(config.uri) is not None
    if not is_admitted:
        return False, "the auditor has not admitted this hospital yet", "审计方尚未准入本院"
    size, late_s = follower.size, int(time.time()) - (seen or 0)
    return (
        True,
        f"{size} entries; this clock is {late_s} s after the newest cosignature",
        f"共 {size} 条；本机时钟比最近会签晚 {late_s} 秒",
    )


def _proxies(place: Path, config: Config) -> Finding:
    names = ", ".join(name for name in PROXIES if os.environ.get(name))
    if not names:
        return True, "none set", "未设置"
    return (
        True,
        f"{names} set: the link goes through it unless no_proxy names its host",
        f"已设置 {names}：除非 no_proxy 列出其主机，连接将经过代理",
    )


def _disk(place: Path, config: Config) -> Finding:
    free = shutil.disk_usage(place).free >> 20
    wanted = config.min_free_mb
    return has_room(place, wanted)(), f"{free} MB free, {wanted} MB wanted", f"可用 {free} MB，至少需要 {wanted} MB"


def _database(place: Path, config: Config) -> Finding:
    if not (place / SOURCE_FILE).exists():
        return True, "not used: questions are answered from imported records", "未使用：由已导入的数据作答"
    from hospital_node.sources.plans import DatabasePlans

    source = read_source(place / SOURCE_FILE)
    plans = DatabasePlans(place, source, ZoneInfo(config.zone), CodeMap.read())
    if wrong := plans.faults():
        told = "; ".join(f"{each} [{each.code}]" for each in wrong)
        return False, told, f"数据库有问题：{told}"
    longest, table = max((plans.rehearsed_s(each), each) for each in source.tables)
    slot_s, wanted_ms = config.slot_of_tables_ms / 1000, f"{longest * SLOT_SHARE * 1000:.0f}"
    english = f"the last year of {table} is read in {longest:.2f} s; the slot is {slot_s:g} s"
    chinese = f"读取 {table} 最近一年需 {longest:.2f} 秒；时隙为 {slot_s:g} 秒"
    if longest * SLOT_SHARE <= slot_s:
        return True, english, chinese
    code = SlowSource.code
    return (
        False,
        f"{english}: raise slot_ms to at least {wanted_ms} [{code}]",
        f"{chinese}：请把 slot_ms 提高到至少 {wanted_ms} [{code}]",
    )


_FROM_DATABASE: Finding = (None, "not looked at: questions are answered from the database", "未检查：由数据库作答")


def _columns(place: Path, config: Config) -> Finding:
    if (place / SOURCE_FILE).exists():
        return _FROM_DATABASE
    with open_read_only(place / "records") as records:
        rows = records.execute("SELECT table_name, column_name FROM information_schema.columns").fetchall()
    present = {(str(table), str(column)) for table, column in rows}
    missing = list(_missing(present))
    if missing:
        return False, f"missing: {', '.join(missing)}", f"缺少：{', '.join(missing)}"
    return True, "every column that a plan reads is there", "统计所需的列齐全"


def _missing(present: set[tuple[str, str]]) -> Iterator[str]:
    for relation in RELATIONS.values():
        for column in relation.columns:
            if (relation.name, column) not in present:
                yield f"{relation.name}.{column}"


def _unmapped(place: Path, config: Config) -> Finding:
    if (place / SOURCE_FILE).exists():
        return _FROM_DATABASE
    share = profile(place / "records").unmapped_share
    if share is None:
        return None, "no diagnoses", "没有诊断记录"
    return (
        share <= UNMAPPED_SHARE,
        f"{share:.1%} of diagnoses have no ICD-10 code; the import report names the codes",
        f"{share:.1%} 的诊断没有 ICD-10 编码；导入报告列出了这些编码",
    )


def _residents(place: Path, config: Config) -> Finding:
    """Whether the patients' tags are there and of the key in force; no key is a fault only where the policy permits residents."""
    residents, is_permitted = Residents.of(place), (place / POLICY_FILE).exists() and bool(read_policy(place).resident_tables)
    missing = False if is_permitted else None
    if residents is None:
        return missing, "no key: residents cannot be counted across hospitals", "没有密钥：无法跨医院按居民去重"
    if (place / SOURCE_FILE).exists():
        return _residents_of_database(place, missing, residents.fingerprint[:16])
    with open_read_only(place / "records") as records:
        of_key, tags = _tags(records, residents.fingerprint)
        ((persons,),) = records.execute("SELECT count(*) FROM person").fetchall()
        was_read = is_tagged(records, residents.fingerprint)
    if of_key != tags:
        return False, "tags of another key: import resident numbers again", "标签属于另一密钥：请重新导入居民身份证号"
    if is_permitted and not was_read:
        return False, "permitted, but not imported with resident numbers", "政策已允许，但记录未以身份证号导入"
    share = of_key / persons if persons else 0.0
    print_ = residents.fingerprint[:16]
    return (
        True if of_key else None,
        f"{share:.1%} of patients have a tag under key {print_}",
        f"{share:.1%} 的患者有标签，密钥 {print_}",
    )


def _residents_of_database(place: Path, missing: bool | None, print_: str) -> Finding:
    patients = read_source(place / SOURCE_FILE).patients
    if patients is None or patients.resident is None:
        return (
            missing,
            "source.toml names no patients.resident: where their numbers stand",
            "source.toml 未指明 patients.resident 列",
        )
    told = f"{'.'.join(patients.relation)}.{patients.resident}"
    return True, f"numbers are read from {told}, under key {print_}", f"身份证号取自 {told}，密钥 {print_}"


def _tags(records: DuckDBPyConnection, key_print: str) -> tuple[int, int]:
    """Tags under this key, and under any; records of an older program have no table of them."""
    if not records.execute("SELECT 1 FROM information_schema.tables WHERE table_name = 'resident'").fetchall():
        return 0, 0
    ((of_key, tags),) = records.execute(
        "SELECT count(*) FILTER (key_print = $key), count(*) FROM resident", {"key": key_print}
    ).fetchall()
    return of_key, tags


def _tables(place: Path, config: Config) -> Finding:
    stated, held = declared(place), registered_tables(place / "records")
    if wrong := sorted(name for name in stated.keys() | held.keys() if stated.get(name) != held.get(name)):
        names = ", ".join(wrong)
        return (
            False,
            f"{names}: not as declared; run `kapok-node tables add` again",
            f"{names} 与声明不符；请重新运行 kapok-node tables add",
        )
    if not held:
        return True, "none registered", "未登记"
    with opened(place) as journal:
        follower = followed(Home(place), journal)
    with suppress(LedgerError):  # what the journal holds will do; that nobody answers is another check's finding
        fetch(Home(place), config, follower)
    view = follower.view
    now = int(time.time())
    waiting = [name for name, each in held.items() if view.refusals_of_block(config.uri, each.static_block or "", now)]
    if waiting:
        names = ", ".join(waiting)
        return None, f"{names}: the auditor has not approved its block", f"{names}：审计方尚未批准其区块"
    others = [each for _, each in view.registrations.values() if each.by != config.uri]
    if differing := [f"{name}.{no.subject}: {no.got} / {no.expected} [{no.reason}]" for name, each in held.items()
                     for no in apart(name, each, _last(others))]:  # fmt: skip
        told = "; ".join(differing)
        return False, f"not as most hospitals state it (here / there): {told}", f"与多数医院的声明不同（本院 / 他院）：{told}"
    return True, f"registered: {', '.join(held)}", f"已登记：{'、'.join(held)}"


def _last(stated: Iterable[Registration]) -> list[Registration]:
    """What each hospital states of each table now."""
    return list({(each.by, each.table): each for each in stated}.values())


def _slot(place: Path, config: Config) -> Finding:
    if (place / SOURCE_FILE).exists():
        return _FROM_DATABASE
    found = calibrated(place / "records")
    wanted, slot = slot_ms_for(found.first_s, config.grid_ms), config.slot_of_tables_ms
    english = f"the slowest of some whole-year counts took {found.first_s * 1000:.0f} ms; the slot is {slot} ms"
    chinese = f"若干全年统计中最慢的用时 {found.first_s * 1000:.0f} 毫秒；时隙为 {slot} 毫秒"
    if slot < wanted:
        # `slot_ms` doubles with every size class: what the file holds is the slot of the smallest.
        in_file = math.ceil(config.slot_ms * wanted / slot)
        return False, f"{english}: set slot_ms = {in_file} in config.toml", f"{chinese}：请在 config.toml 中设 slot_ms = {in_file}"
    is_well, *told = _prepared_slot(found.prepared_s, config)
    return is_well, f"{english}; {wanted} would do; {told[0]}", f"{chinese}；{wanted} 毫秒即可；{told[1]}"


def _prepared_slot(prepared_s: float, config: Config) -> Finding:
    wanted, slot = slot_ms_for(prepared_s, config.grid_ms), config.slot_of_prepared_ms
    in_file = math.ceil(config.slot_ms * wanted / config.slot_of_tables_ms)
    english, chinese = f"of months asked before {prepared_s * 1000:.0f} ms", f"此前问过的月份用时 {prepared_s * 1000:.0f} 毫秒"
    if slot < wanted:
        told = f"set prepared_slot_ms = {in_file} in config.toml", f"请在 config.toml 中设 prepared_slot_ms = {in_file}"
        return False, f"{english}: {told[0]}", f"{chinese}：{told[1]}"
    return True, f"{english}; prepared_slot_ms = {in_file} would do", f"{chinese}；prepared_slot_ms = {in_file} 即可"


def _training_slot(place: Path, config: Config) -> Finding:
    if (place / SOURCE_FILE).exists():
        return _FROM_DATABASE
    from hospital_node.studies.rehearsing import rehearsed  # with what runs a study, which no other check needs

    found = rehearsed(place)
    if found.failed:
        names = ", ".join(found.failed)
        return False, f"{names}: does not run over the registered tables", f"{names}：无法在已登记的数据表上运行"
    if not found.tried:
        return True, "no study is accepted, or no table registered", "没有已接受的研究程序，或没有登记数据表"
    wanted, slot = slot_ms_for(found.step_s, config.grid_ms), config.slot_of_steps_ms
    first, first_slot = slot_ms_for(found.reading_s + found.step_s, config.grid_ms), config.slot_of_tables_ms
    english = f"the slowest step of {found.tried} trainings took {found.step_s * 1000:.0f} ms; the slot of a step is {slot} ms"
    chinese = f"{found.tried} 种训练中最慢的一步用时 {found.step_s * 1000:.0f} 毫秒；训练步的时隙为 {slot} 毫秒"
    if first_slot < first:
        in_file = math.ceil(config.slot_ms * first / first_slot)
        return (
            False,
            f"{english}; with the rows to be read {first} ms: set slot_ms = {in_file} in config.toml",
            f"{chinese}；含读取数据需 {first} 毫秒：请在 config.toml 中设 slot_ms = {in_file}",
        )
    in_file = math.ceil(wanted * config.slot_ms / first_slot)
    told = f"set training_slot_ms = {in_file} in config.toml", f"请在 config.toml 中设 training_slot_ms = {in_file}"
    if slot < wanted:
        return False, f"{english}: {told[0]}", f"{chinese}：{told[1]}"
    return True, f"{english}; training_slot_ms = {in_file} would do", f"{chinese}；training_slot_ms = {in_file} 即可"


CHECKS: dict[str, tuple[str, Look]] = {
    "files": ("配置", _files),
    "trust": ("信任文件", _trust),
    "certificate": ("证书", _certificate),
    "ledger, clock": ("账本与时钟", _ledger_and_clock),
    "proxy": ("代理", _proxies),
    "disk": ("磁盘", _disk),
    "database": ("数据库", _database),
    "columns": ("数据列", _columns),
    "codes": ("编码", _unmapped),
    "residents": ("居民标签", _residents),
    "tables": ("数据表", _tables),
    "slot": ("时隙", _slot),
    "training slot": ("训练时隙", _training_slot),
}
"""By the name that stands in the JSON, whatever the language; what people read in Chinese stands beside it."""
