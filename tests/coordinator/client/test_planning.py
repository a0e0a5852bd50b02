"""Advice at the same price, and a year of standing questions against every block's limit."""

import json
import math
import re
from fractions import Fraction
from pathlib import Path

import pytest

import coordinator.client
from coordinator.client.advice import WORTH, advice
from coordinator.client.city import noise_of
from coordinator.client.errors import BadUsage
from coordinator.client.forecast import ByPrice, BySd, forecast
from coordinator.client.year import read_year, year
from protocols.contract import CONTRACT
from protocols.query import QuerySpec
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.answers import WEEKLY
from tests.coordinator.client.support.bureau import Bureau

README = Path(coordinator.client.__file__).with_name("README.md").read_text("utf-8")
STANDING = """[[standing]]
title = "ILI"
question = '''SELECT week, district, COUNT(*) FROM visits
WHERE date >= DATE '2026-01-05' AND date < DATE '{end}' GROUP BY week, district'''
every = "{every}"
{noise}
"""


def _written(tmp_path: Path, end: str = "2026-01-12", every: str = "week", noise: str = "price = 0.001") -> Path:
    path = tmp_path / "year.toml"
    path.write_text(STANDING.format(end=end, every=every, noise=noise), "utf-8")
    return path


def test_advice_is_true_of_the_question_it_names() -> None:
    spec = parse_sql(WEEKLY)
    cast = forecast(spec, BySd(Fraction(30)), 6)
    told = advice(spec, cast)
    assert [each.keys for each in told] == [
        ("iso_week", "district"),
        ("iso_week", "district"),
        ("month", "district"),
        ("iso_week",),
    ]
    for each in told:
        keys = [{"key": key} for key in each.keys]
        asked = QuerySpec.from_fields(spec.to_json() | {"keys": keys, "cells_per_patient": each.cells_per_patient})
        again = forecast(asked, ByPrice(cast.price.one), 6)
        assert again.price.one <= cast.price.one
        assert again.half_widths[0] == each.half_width <= WORTH * each.instead_of
        assert again.layout.grid.size == each.cells
    # 286 cells of 26 weeks in 77 of 7 months: 3.7 draws of noise in each.
    assert told[2].instead_of == pytest.approx(1.96 * math.sqrt(1080 * 286 / 77), rel=0.01)


def test_no_advice_where_nothing_is_gained() -> None:
    one = parse_sql("SELECT COUNT(*) FROM visits WHERE date >= DATE '2026-01-01' AND date < DATE '2026-02-01'")
    assert advice(one, forecast(one, BySd(Fraction(30)), 6)) == ()
    mean = parse_sql("SELECT sex, AVG(CLAMP(age, 0, 90)) FROM visits WHERE date = '2026-01-01' GROUP BY sex")
    assert advice(mean, forecast(mean, BySd(Fraction(30)), 6)) == ()


@pytest.mark.parametrize(("end", "every", "runs", "fullest"), [
    ("2026-01-12", "week", 53, 6),  # 53 Mondays. March: five weeks begin in it, and one that began in February ends in it
    ("2026-03-02", "week", 53, 13),  # March is read by the eight-week windows that begin on 5 January to 30 March
    ("2026-02-05", "month", 12, 2),
])  # fmt: skip
def test_every_block_pays_for_each_run_that_reads_it(tmp_path: Path, end: str, every: str, runs: int, fullest: int) -> None:
    found = year(read_year(_written(tmp_path, end, every), noise_of), 6)
    (line,) = found.lines
    assert line.runs == runs
    assert line.fullest == fullest * line.cast.price.one
    assert max(found.paid["surveillance"].values()) == line.fullest
    assert found.fits is (line.fullest <= CONTRACT.limit("surveillance"))


def test_the_file_of_the_readme_is_a_plan(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(\[\[standing.*?)```", README, re.S)
    path = tmp_path / "surveillance.toml"
    path.write_text(text, "utf-8")
    assert year(read_year(path, noise_of), 6).fits


@pytest.mark.parametrize(
    "text", ["", "standing = 3", "[[standing]]\ntitle = 'x'", "[[standing]]\ntitle = 1\nquestion = 'x'", "nonsense ["]
)
def test_a_file_that_is_no_plan_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "year.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(BadUsage, match=r"standing|year\.toml"):
        read_year(path, noise_of)


@pytest.mark.parametrize(
    ("noise", "every"), [("", "week"), ("sd = 3\nprice = 2", "week"), ("sd = 3", "year"), ("sd = 'x'", "week")]
)
def test_a_standing_question_without_one_noise_or_step_is_named(tmp_path: Path, noise: str, every: str) -> None:
    with pytest.raises(BadUsage):
        read_year(_written(tmp_path, every=every, noise=noise), noise_of)


@pytest.mark.wire
def test_a_plan_that_passes_a_limit_ends_with_1_in_both_languages(bureau: Bureau, tmp_path: Path, capsys) -> None:
    assert bureau("plan-year", str(_written(tmp_path)), "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["fits"], told["questions"][0]["runs"]) == (True, 53)
    assert float(told["blocks"]["surveillance"]["2026-03"]["limit"]) == pytest.approx(
        float(CONTRACT.limit("surveillance")), abs=1e-8
    )
    assert bureau("plan-year", str(_written(tmp_path, noise="price = 0.3")), lang="zh") == 1
    assert "不可行" in capsys.readouterr().out
    assert bureau.desk.envelopes == [], "a plan asks nothing"


@pytest.mark.wire
def test_a_preview_shows_its_advice(bureau: Bureau, capsys) -> None:
    assert bureau("preview", WEEKLY, "--sd", "30") == 0
    assert "the same price would also buy" in capsys.readouterr().out
