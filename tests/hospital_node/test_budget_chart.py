"""The budget's chart says of every month and purpose what the journal says: what is spent, what is left, and no more."""

from fractions import Fraction

import pytest

from audit_ledger.party import drawing
from hospital_node.budget_chart import Accounts, figure_of
from hospital_node.policy import read_policy
from hospital_node.records.report_text import Lang
from privacy.filter import Spent
from tests.hospital_node.support.nodes import Nodes

SURVEILLANCE, RESEARCH = "surveillance", "research"
PAID = {
    (SURVEILLANCE, "2025-11"): Fraction("0.25"),
    (SURVEILLANCE, "2026-02"): Fraction("0.5"),
    (RESEARCH, "2026-01"): Fraction("0.375"),
    (RESEARCH, "static:heart"): Fraction("0.125"),
}
LIMITS = {SURVEILLANCE: Fraction("0.75"), RESEARCH: Fraction("0.25")}


@pytest.fixture
def found(tmp_path) -> Accounts:
    world = Nodes(tmp_path, 1)
    policy = read_policy(world.first().home)
    world.close()
    made = Accounts.of(policy, {key: Spent(each, Fraction(0)) for key, each in PAID.items()})
    assert set(made.limits) == {SURVEILLANCE, RESEARCH, "outbreak"}
    return Accounts(made.blocks, LIMITS, made.spent, made.order, made.delta)


def test_every_month_between_is_shown_and_tables_without_dates_stand_last(found: Accounts) -> None:
    assert found.blocks == ("2025-11", "2025-12", "2026-01", "2026-02", "static:heart")


def test_bars_are_what_is_spent_and_what_is_left_of_the_limit(found: Accounts) -> None:
    surveillance, research = figure_of(found, Lang.EN).axes
    spent, left = ([bar.get_height() for bar in bars] for bars in surveillance.containers)
    assert spent == [0.25, 0, 0, 0.5, 0]
    assert left == [0.5, 0.75, 0.75, 0.25, 0.75]
    spent, left = ([bar.get_height() for bar in bars] for bars in research.containers)
    assert spent == [0, 0, 0.375, 0, 0.125]
    assert left == [0.25, 0.25, 0, 0.25, 0.125], "a limit that was lowered below what is spent leaves nothing"
    assert [line.get_ydata()[0] for axes in (surveillance, research) for line in axes.lines] == [0.75, 0.25]
    assert [each.get_text() for each in research.texts] == ["150%", "50%"]
    assert surveillance.get_ylim() == research.get_ylim()


@pytest.mark.parametrize(("lang", "words"), [(Lang.EN, ("spent", "left", "limit")), (Lang.ZH, ("已用", "剩余", "上限"))])
def test_labels_are_in_the_readers_language(found: Accounts, lang: Lang, words: tuple[str, ...], tmp_path) -> None:
    assert {each.get_text() for each in figure_of(found, lang).legends[0].get_texts()} == set(words)
    is_as_wished = drawing.save(
        lambda is_chinese: figure_of(found, Lang.ZH if is_chinese else Lang.EN), tmp_path / "b.png", lang is Lang.ZH
    )
    assert is_as_wished == (lang is Lang.EN or drawing.chinese_font() is not None)


def test_a_node_that_has_paid_nothing_is_drawn_with_its_limits(found: Accounts, tmp_path) -> None:
    assert drawing.save(lambda _: figure_of(Accounts((), LIMITS, {}, found.order, found.delta), Lang.EN), tmp_path / "b.png", False)
