"""The import's report for people, in English and Chinese; every reason has its sentence in both."""

from collections.abc import Iterator
from enum import StrEnum

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hospital_node.records.report import ImportReport, Reason


class Lang(StrEnum):
    """The languages of the report."""

    EN = "en"
    ZH = "zh"


TABLE_NAMES = {
    "person": ("patients", "患者"),
    "visit_occurrence": ("visits", "就诊"),
    "condition_occurrence": ("diagnoses", "诊断"),
    "measurement": ("measurements", "检验与体征"),
}

REASONS: dict[Reason, tuple[str, str]] = {
    Reason.NOT_JSON: ("not JSON", "不是 JSON"),
    Reason.NOT_FHIR: ("not a FHIR resource", "不是 FHIR 资源"),
    Reason.MALFORMED: ("of the wrong shape", "结构有误"),
    Reason.COLUMNS: ("another number of cells than the header", "列数与表头不符"),
    Reason.NO_ID: ("no id", "没有标识"),
    Reason.NO_SUBJECT: ("names no patient", "未指明患者"),
    Reason.UNKNOWN_SUBJECT: ("its patient is not in the records", "患者不在库中"),
    Reason.NO_CODE: ("no code", "没有编码"),
    Reason.NO_DATE: ("no date", "没有日期"),
    Reason.PARTIAL_DATE: ("date not to the day", "日期未精确到日"),
    Reason.BAD_DATE: ("date not readable", "日期无法识别"),
    Reason.FUTURE: ("date in the future", "日期在将来"),
    Reason.TOO_EARLY: ("date before 1900", "日期早于1900年"),
    Reason.BEFORE_BIRTH: ("negative age", "年龄为负"),
    Reason.BAD_NUMBER: ("value not a number in range", "数值无法识别或超出范围"),
    Reason.BAD_RESIDENT: ("no resident number; its patient is loaded without", "居民身份证号无效；患者已载入，但无标签"),
    Reason.WITHDRAWN: ("entered in error, refuted or cancelled", "录入错误、已排除或已取消"),
    Reason.PLANNED: ("planned, has not taken place", "仅预约，尚未发生"),
    Reason.REPEATED: ("repeated, a later record of the same id counts", "重复，以后出现的同一标识为准"),
}

_WORDS = {
    "title": ("Generation {} in force", "已启用第 {} 代数据"),
    "unchanged": ("Nothing could be loaded; the records in force stay", "没有可载入的记录；原数据不变"),
    "summary": ("{} files, {} MB in {} s", "{} 个文件，{} MB，用时 {} 秒"),
    "encoding": ("{}: read as {}", "{}：按 {} 读取"),
    "table": ("table", "表"),
    "new": ("new", "新增"),
    "replaced": ("replaced", "替换"),
    "removed": ("taken out", "移除"),
    "total": ("now", "现有"),
    "skipped": ("skipped because", "跳过原因"),
    "records": ("records", "条数"),
    "places": ("first places (file:line)", "最先出现处（文件：行）"),
    "read": ("read: {}", "读取：{}"),
    "not_used": ("not used: {}", "未使用：{}"),
    "unmapped": ("code without ICD-10 (add a --code-map)", "无 ICD-10 对应的编码（可用 --code-map 补充）"),
    "hidden": ("(not of its system's form, not shown)", "（不符合其编码体系格式，不显示）"),
    "none": ("nothing", "无"),
}

_FAILURES = {
    "records.missing": ("cannot find what to import", "找不到要导入的内容"),
    "records.source": ("cannot read", "无法读取"),
    "records.nothing": ("nothing loaded", "未载入任何记录"),
    "records.mapping": ("the mapping is not valid", "映射文件无效"),
    "records.running": ("another import is at work", "另一个导入正在进行"),
    "records.schema": ("the table's schema is not valid", "数据表说明无效"),
    "records.table": ("the table's file is not valid", "数据表文件无效"),
    "records.store": ("cannot store", "无法写入"),
    "records.none": ("no records yet", "尚无数据"),
    "records.internal": ("a fault in the program; the records in force stay", "程序内部错误；原数据不变"),
    "source.error": ("the database cannot be asked", "无法查询数据库"),
    "source.config": ("source.toml is not valid", "source.toml 无效"),
    "source.driver": ("the database's driver is not installed", "未安装数据库驱动"),
    "source.unreachable": ("the database does not answer, or refuses the login", "数据库无响应或拒绝登录"),
    "source.columns": ("the database lacks what the mapping names", "数据库缺少映射所指的表或列"),
    "source.not_read_only": ("the login may do more than read", "该账号不是只读"),
    "source.zone": ("the database keeps another time zone", "数据库时区不同"),
    "source.slow": ("the database did not answer in time", "数据库超时"),
    "source.failed": ("the database refused a statement", "数据库拒绝了查询"),
}


def word(key: str, lang: Lang, *given: object) -> str:
    return _WORDS[key][lang is Lang.ZH].format(*given)


def failure(code: str, lang: Lang, detail: str) -> str:
    """One line: what failed in the reader's language, where and how, and the code."""
    said = _FAILURES[code][lang is Lang.ZH]
    return f"{said}: {detail} [{code}]"


def render(report: ImportReport, lang: Lang) -> RenderableType:
    return Group(*_parts(report, lang))


def _parts(report: ImportReport, lang: Lang) -> Iterator[RenderableType]:
    yield Text(word("title", lang, report.generation) if report.changed else word("unchanged", lang))
    yield Text(word("summary", lang, report.files, f"{report.megabytes:.1f}", f"{report.seconds:.1f}"))
    yield Text(word("read", lang, _counts(report.read) or word("none", lang)))
    if report.not_used:
        yield Text(word("not_used", lang, _counts(report.not_used)))
    for file, encoding in report.encodings.items():
        yield Text(word("encoding", lang, file, encoding))
    yield _tables(report, lang)
    if report.skipped:
        yield _skipped(report, lang)
    if report.unmapped:
        yield _unmapped(report, lang)


def _counts(counts: object) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) if isinstance(counts, dict) else ""


def _tables(report: ImportReport, lang: Lang) -> Table:
    table = Table(word("table", lang))
    for key in ("new", "replaced", "removed", "total"):
        table.add_column(word(key, lang), justify="right")
    for name, found in report.tables.items():
        table.add_row(
            TABLE_NAMES[name][lang is Lang.ZH], str(found.loaded), str(found.replaced), str(found.removed), str(found.total)
        )
    return table


def _skipped(report: ImportReport, lang: Lang) -> Table:
    table = Table(word("skipped", lang))
    table.add_column(word("records", lang), justify="right")
    table.add_column(word("places", lang), overflow="fold")
    for reason, found in report.skipped.items():
        table.add_row(REASONS[reason][lang is Lang.ZH], str(found.count), escape("\n".join(found.places)))
    return table


def _unmapped(report: ImportReport, lang: Lang) -> Table:
    table = Table(word("unmapped", lang))
    table.add_column(word("records", lang), justify="right")
    for found in report.unmapped:
        name = word("hidden", lang) if found.code is None else f"{found.system} {found.code}"
        table.add_row(escape(name), str(found.count))
    return table
