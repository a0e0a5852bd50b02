"""The demo: a city of real processes is founded, asked, trained and audited, and its answers stand beside the truth.

Leaves in the output folder: `ledger/` (the tiled log), `trust.policy`, `answers/<name>.json` (bundles that verify offline),
`exact/<name>.json` (what all records say, which only a simulation can know), `models/`, `charts/`, `summary.json`, and the city's
own folders.
"""

import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from audit_ledger.words import Words
from privacy.conversion import epsilon_at
from protocols.contract import CONTRACT
from protocols.fit import FitSpec
from protocols.query import Layout, QuerySpec
from protocols.query.domains import DISTRICTS
from protocols.query.sql import parse_sql
from simulations.city import build_city, relocate, write_fhir
from simulations.exact import bounded_exact, exact_answer
from simulations.keys import bounding_keys
from simulations.processes import SLOT_MS, CommandFailed, Services, program, run
from simulations.steps import Steps
from simulations.town import Town
from simulations.training import train

console = Console()
INVENTED_YEAR = 2025


LEGEND = (
    (
        "noise: its sd as stated; error: rms against the bounded sums that the hospitals put in; rmse and the share of cells in "
        "their 95 % interval: against all records, which bounding cuts a little"
    ),
    "噪声：所述标准差；误差：相对于各院限次后之和的均方根；均方根误差与 95% 区间覆盖的单元比例：相对于全部病历（限次会略去少许）",
)
HEADS = (
    ("question", "wall s", "count s", "ε", "cells", "noise", "error", "rmse", "95 %"),
    ("问题", "总秒", "计数秒", "ε", "单元", "噪声", "误差", "均方根误差", "95%"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of the demo, in both languages."""

    name: str
    sql: str
    sd: str
    english: str
    chinese: str


def questions(year: int) -> tuple[Asked, ...]:
    period = f"date >= DATE '{year}-01-01' AND date < DATE '{year + 1}-01-01'"
    respiratory = " OR ".join(f"icd10 LIKE '{code}%'" for code in ("J06", "J10", "J11", "J18", "J20"))
    persons = "COUNT(DISTINCT person_id) FROM diagnoses WHERE"
    return (
        Asked(
            "respiratory",
            f"SELECT week, district, {persons} {period} AND ({respiratory}) GROUP BY week, district",
            "12",
            "patients with a respiratory infection, by week and district",
            "各区每周呼吸道感染患者数",
        ),
        Asked(
            "dengue",
            f"SELECT week, {persons} {period} AND icd10 LIKE 'A9%' GROUP BY week",
            "12",
            "patients with dengue, by week (an outbreak is hidden in the city)",
            "每周登革热患者数（城中藏有一次暴发）",
        ),
        Asked(
            "visits",
            f"SELECT month, age_band, COUNT(*) FROM visits WHERE {period} GROUP BY month, age_band",
            "18",
            "visits by month and age band",
            "各月各年龄段就诊人次",
        ),
    )


def admission_fit(year: int) -> FitSpec:
    period = {"from": f"{year}-01-01", "to": f"{year + 1}-01-01"}
    fields = {"outcome": "IMP", "features": ["age", "male", "winter"], "period": period}
    return FitSpec.from_json({"version": 1, "fit": "logistic", "table": "visits", **fields})


@dataclass(slots=True)
class Demo:
    """One run. `of_starter` are descriptors that a city which is kept does not hold on to: its starter's lock, say."""

    out: Path
    hospitals: int
    fhir: Path | None
    seed: int
    year: int | None
    visits: int = 8_000
    slot_ms: int = SLOT_MS
    words: Words = field(default_factory=lambda: Words(False))
    of_starter: frozenset[int] = frozenset()
    _tell: Steps = field(init=False)

    def __post_init__(self) -> None:
        self._tell = Steps(console, words=self.words)

    @property
    def asked_year(self) -> int:
        return self.year or INVENTED_YEAR

    def run(self, keep: bool) -> int:
        """0 if the auditor's verdict is clean. Raises CommandFailed where a program of the city fails."""
        started = time.monotonic()
        self._clear()
        with Services(self.out / "logs") as services, self._tell:
            sources, settings = self._records(), {"grid_ms": 25, "slot_ms": self.slot_ms}
            town = Town(self.out / "city", sources, services, tell=self._tell, count=self._tell.count, node_settings=settings)
            town.found()
            tables = ("visits", "diagnoses", "measurements", "patients")
            self._tell("the bureau states a surveillance programme; the auditor approves it", "疾控声明一项监测方案；审计方批准")
            town.approve_programme("Respiratory and vector-borne surveillance", tables, "0.900000000")
            rows = [self._ask(town, asked) for asked in questions(self.asked_year)]
            trained = train(town, admission_fit(self.asked_year), self._tell, console, self.words)
            shutil.copy(town.bureau / "answers" / f"{trained['query']}.json", self.out / "models" / "admission.json")
            verdict = self._audit(town)
            self._write_summary(rows, trained, verdict, time.monotonic() - started)
            self._tell.end()
            if keep:
                self._keep(town)
        return 0 if verdict == "verified" else 1

    def _clear(self) -> None:
        for name in ("ledger", "answers", "exact", "charts", "models", "city", "fhir", "logs"):
            shutil.rmtree(self.out / name, ignore_errors=True)
        for name in ("answers", "exact", "charts", "models"):
            (self.out / name).mkdir(parents=True)

    def _records(self) -> Mapping[str, Path]:
        if self.fhir is not None:
            relocated = relocate(self.fhir, self.out / "fhir", self.hospitals)
            self.year = self.year or busiest_year(relocated.folders.values())
            many, year = len(relocated.folders), self.year
            self._tell(
                f"the patients of {self.fhir} move to {many} hospitals of Guangzhou; asked about: {year}",
                f"{self.fhir} 的患者迁入广州 {many} 家医院；所问年份：{year}",
            )
            return relocated.folders
        city = build_city(self.seed, self.hospitals, self.visits, self.asked_year)
        many, visits, year = len(city.hospitals), len(city.visits.day), self.asked_year
        self._tell(
            f"an invented city: {many} hospitals, {visits:,} visits in {year}, one hidden outbreak",
            f"一座虚构的城市：{many} 家医院，{year} 年就诊 {visits:,} 人次，藏有一次暴发",
        )
        return write_fhir(city, self.out / "fhir")

    def _ask(self, town: Town, asked: Asked) -> dict[str, Any]:
        self._tell(f"the bureau asks: {asked.english}", f"疾控提问：{asked.chinese}")
        started = time.monotonic()
        chart = ("--chart", self.out / "charts" / f"{asked.name}.png") if "week" in asked.sql else ()
        shown = town.query(asked.sql, "--sd", asked.sd, *chart)
        wall_s = time.monotonic() - started
        bundle = self.out / "answers" / f"{asked.name}.json"
        shutil.copy(town.bureau / "answers" / f"{shown['query']}.json", bundle)
        spec = parse_sql(asked.sql)
        return self._compare(town, asked.name, spec, json.loads(bundle.read_bytes()), shown["query"], wall_s)

    def _compare(self, town: Town, name: str, spec: QuerySpec, answer: dict[str, Any], query: str, wall_s: float) -> dict[str, Any]:
        folders = {each: town.node(each) / "records" for each in town.hospitals}
        exact = exact_answer(spec, folders.values())
        bounded = bounded_exact(spec, bounding_keys(town))
        truth, kept = exact.vector.tolist(), bounded.vector.tolist()
        shown = {**exact.to_json(), "name": name, "spec": spec.to_json(), "values": truth, "bounded": kept}
        (self.out / "exact" / f"{name}.json").write_text(json.dumps(shown))
        released, layout = answer["values"], Layout.of(spec)
        half = [answer["half_widths"][at // layout.grid.size] for at in range(len(released))]
        row = {
            "name": name,
            "wall_s": round(wall_s, 3),
            "counting_s": counting_s(town, query),
            **_spent(answer),
            "cells": len(released),
            "rmse": _rmse(released, truth),
            "rmse_bounded": _rmse(released, kept),
            "bounding_bias": (sum(kept) - sum(truth)) / len(truth),
            "noise_sd": math.sqrt(float(answer["total_variances"][0])),
            "coverage95": _coverage(released, truth, half),
            "coverage95_bounded": _coverage(released, kept, half),
        }
        self._show(name, released, truth, half, layout)
        return row

    def _show(self, name: str, released: Sequence[int], truth: Sequence[int], half: Sequence[int], layout: Layout) -> None:
        """The ten largest cells: what was released beside what is true."""
        say = self.words.say
        heads = (say("cell", "单元"), say("released", "发布值"), say("95 % interval", "95% 区间"))
        table = Table(*heads, say("exact (simulation only)", "真值（仅模拟中可知）"), title=name)
        largest = sorted(range(len(truth)), key=lambda at: -truth[at])[:8]
        for at in sorted(largest):
            cell = " · ".join(map(self._named, layout.grid.labels_of(at % layout.grid.size)))
            table.add_row(cell, str(released[at]), f"{released[at] - half[at]} … {released[at] + half[at]}", str(truth[at]))
        console.print(table)

    def _named(self, label: str) -> str:
        """A district by its name; every other label as it is."""
        chinese, english = DISTRICTS.get(label, (label, label))
        return self.words.say(english, chinese)

    def _audit(self, town: Town) -> str:
        self._tell(
            "the auditor verifies the ledger and every answer with public keys and files alone",
            "审计方仅凭公钥与文件核验账本和每一份答案",
        )
        shutil.copytree(town.ledger, self.out / "ledger", dirs_exist_ok=True)
        shutil.copy(town.trust, self.out / "trust.policy")
        trust, verdicts = self.out / "trust.policy", []
        bundles = [path for name in ("answers", "models") for path in sorted((self.out / name).glob("*.json"))]
        for target in (self.out / "ledger", *bundles):
            try:
                run("kapok-audit", "verify", target, "--trust", trust)
                verdicts.append("verified")
            except CommandFailed as failed:
                verdicts.append("failed")
                console.print(str(failed), style="red", highlight=False)
            console.print(f"  {'[green]✓[/]' if verdicts[-1] == 'verified' else '[red]✗[/]'} {target.relative_to(self.out)}")
        return "verified" if set(verdicts) == {"verified"} else "failed"

    def _write_summary(self, rows: list[dict[str, Any]], trained: dict[str, Any], verdict: str, wall_s: float) -> None:
        summary = {
            "queries": rows,
            "training": trained,
            "hospitals": self.hospitals,
            "wall_s": round(wall_s, 1),
            "verdict": verdict,
            "epsilon_total": self._epsilon_total(trained),
        }
        (self.out / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        columns = ("wall_s", "counting_s", "epsilon", "cells", "noise_sd", "rmse_bounded", "rmse", "coverage95")
        say = self.words.say
        heads = HEADS[1] if self.words.is_chinese else HEADS[0]
        table = Table(*heads, title=say(f"{wall_s:.0f} s in all", f"共 {wall_s:.0f} 秒"))
        for row in rows:
            table.add_row(row["name"], *(f"{row[column]:.3g}" for column in columns))
        console.print(table)
        console.print(say(*LEGEND), style="dim", highlight=False)
        colour = "green" if verdict == "verified" else "red"
        told = say(f"auditor's verdict: {verdict}", f"审计结论：{'核验通过' if verdict == 'verified' else '未通过'}")
        console.print(f"[bold {colour}]{told}[/]   {say('everything is in', '全部内容在')} {self.out}")

    def _epsilon_total(self, trained: dict[str, Any]) -> float:
        """What one patient of one hospital and month has spent on everything: the prices add at the order, then one epsilon."""
        prices = [Fraction(json.loads(path.read_bytes())["price"]) for path in (self.out / "answers").glob("*.json")]
        total = sum(prices, Fraction(trained["price"]))
        return float(epsilon_at(total, CONTRACT.order, CONTRACT.delta))

    def _keep(self, town: Town) -> None:
        year, link, witness = self.asked_year, f"127.0.0.1:{town.ports.link}", f"http://127.0.0.1:{town.ports.witness}"
        where = f"date >= DATE '{year}-01-01' AND date < DATE '{year + 1}-01-01'"
        sql = f"SELECT month, COUNT(*) FROM visits WHERE {where} GROUP BY month"
        say = self.words.say
        console.print(
            say(f"the city keeps running: coordinator {link}, witness {witness}", f"城市继续运行：协调方 {link}，见证方 {witness}")
        )
        kapok = program("kapok")
        asked = say("ask it:  ", "可这样提问：")
        console.print(f'{asked}{kapok} query "{sql}" --home {town.bureau} --programme {town.programme} --sd 20', soft_wrap=True)
        console.print(say(f"Ctrl-C ends it, or: kill {os.getpid()}", f"按 Ctrl-C 结束，或执行：kill {os.getpid()}"))
        for each in self.of_starter:
            with suppress(OSError):
                os.close(each)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            console.print(say("ending", "正在结束"))


def busiest_year(folders: Iterable[Path]) -> int:
    """The year in which most of the given records' encounters began."""
    years: Counter[str] = Counter()
    for folder in folders:
        for line in (folder / "Encounter.ndjson").read_bytes().splitlines():
            years[str(orjson.loads(line).get("period", {}).get("start", ""))[:4]] += 1
    return int(max((year for year in years if year.isdigit()), key=lambda year: years[year], default=str(INVENTED_YEAR)))


def counting_s(town: Town, query: str) -> float:
    """The slowest hospital's counting time, from the nodes' own trace files."""
    slowest = 0.0
    for name in town.hospitals:
        for line in town.trace(name).read_text().splitlines():
            step = json.loads(line)
            if step.get("query", "").startswith(query[:16]) and "counting_s" in step:
                slowest = max(slowest, float(step["counting_s"]))
    return round(slowest, 6)


def _spent(answer: dict[str, Any]) -> dict[str, float]:
    first = answer["spending"][0]
    return {"epsilon": float(first["epsilon"]), "delta": float(first["delta"])}


def _coverage(released: Sequence[int], truth: Sequence[int], half: Sequence[int]) -> float:
    return sum(abs(a - b) <= h for a, b, h in zip(released, truth, half, strict=True)) / len(released)


def _rmse(released: Sequence[int], truth: Sequence[int]) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(released, truth, strict=True)) / len(truth))
