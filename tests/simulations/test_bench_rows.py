"""A benchmark's row says what it was measured against, and never calls a missed bar kept."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulations.bench import __main__ as bench
from simulations.bench import import_fhir, turns
from simulations.bench.rows import Row, passes
from simulations.bench.turns import Turns


@pytest.mark.parametrize(
    ("figure", "bar", "kept"),
    [(2.0, "<= 2.0", True), (2.001, "<= 2.0", False), (20.0, ">= 20", True), (19.999, ">= 20", False)],
)
def test_a_bar_is_kept_up_to_its_very_number(figure: float, bar: str, kept: bool) -> None:
    assert passes(figure, bar) is kept


@pytest.mark.parametrize("bar", ["2.0", "< 2.0", "2.0 <=", ""])
def test_a_bar_without_a_direction_is_refused(bar: str) -> None:
    with pytest.raises(ValueError, match="expected '<= number' or '>= number'"):
        passes(1.0, bar)


def test_the_bar_is_of_the_ratio_where_there_is_a_reference() -> None:
    row = Row.measured("sum", "s", 5.0, "how", bar="<= 2.0", reference=2.0)
    assert (row.ratio, row.ok) == (2.5, False)


def test_the_bar_is_of_our_figure_where_there_is_no_reference() -> None:
    assert Row.measured("latency", "ms", 149.0, "how", bar="<= 150").ok is True


def test_a_row_without_a_bar_passes_no_verdict() -> None:
    assert Row.measured("count", "s", 1.0, "how", reference=0.5).ok is None


def test_a_row_holds_the_fields_of_the_report_and_comes_back() -> None:
    row = Row.measured("sum", "s", 0.25, "how", bar="<= 2.0", reference=0.125)
    assert list(row.to_json()) == ["name", "unit", "ours", "reference", "ratio", "bar", "ok", "how"]
    assert Row.of_json(row.to_json()) == row


def test_the_import_s_rows_are_rows() -> None:
    raw = import_fhir._row("import", "MB/s", 60.0, None, None, ">= 50", True, "how")
    assert Row.of_json(raw).ok is True


def test_turns_compare_turn_with_turn() -> None:
    # A disturbance of one turn hits both sides; the ratio of the medians would be 1.
    measured = Turns(ours=(1.0, 20.0, 3.0), reference=(1.0, 10.0, 1.0))
    assert (measured.median, measured.median_reference, measured.ratio) == (3.0, 1.0, 2.0)


def test_the_steps_of_two_sides_alternate_and_each_is_timed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    now = 0

    def steps(side: str, count: int, cost: int) -> Iterator[None]:
        nonlocal now
        for _ in range(count):
            order.append(side)
            now += cost
            yield
        order.append(f"{side} ends")
        now += cost

    monkeypatch.setattr(turns, "_processor_seconds", lambda: now)
    measured = turns.stepwise(lambda: steps("ours", 1, 100), lambda: steps("theirs", 3, 1), turns=2)
    assert order == 3 * ["ours", "theirs", "ours ends", "theirs", "theirs", "theirs ends"]
    assert (measured.ours, measured.reference, measured.ratio) == ((200, 200), (4, 4), 50)


def _run(monkeypatch: pytest.MonkeyPatch, rows: list[Row] | Exception, *options: str) -> int:
    def measured(is_quick: bool, tell: bench.Tell) -> list[Row]:
        if isinstance(rows, Exception):
            raise rows
        return rows

    monkeypatch.setattr(bench, "GROUPS", {"one": measured})
    return CliRunner().invoke(bench.app, list(options)).exit_code


MISSED = Row.measured("slow", "ms", 200.0, "how", bar="<= 150")


def test_a_missed_bar_is_no_error_but_with_strict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _run(monkeypatch, [MISSED], "--out", str(tmp_path)) == 0
    assert _run(monkeypatch, [MISSED], "--out", str(tmp_path), "--strict") == 1


def test_a_crash_is_an_error_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _run(monkeypatch, RuntimeError("no"), "--out", str(tmp_path)) == 3
    assert not list(tmp_path.iterdir())


def test_each_group_has_a_file_of_its_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _run(monkeypatch, [MISSED], "--out", str(tmp_path))
    assert json.loads((tmp_path / "one.json").read_text()) == [MISSED.to_json()]


def test_an_unknown_group_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _run(monkeypatch, [MISSED], "--out", str(tmp_path), "--only", "two") == 2
