"""A fit's table: the numbers of the normal law, in columns that stay straight, also below Chinese names."""

import unicodedata

import pytest
from scipy import stats

from coordinator.client.summary import Estimate, table_text


@pytest.mark.parametrize(("value", "error"), [(1.2996, 0.2569), (-2.1978, 4.5), (0.0, 1.0), (-9.0, 0.3)])
def test_p_and_interval_are_those_of_the_normal_law(value: float, error: float) -> None:
    each = Estimate("sex", value, error)
    assert each.p == pytest.approx(2 * stats.norm.sf(abs(value / error)), abs=1e-12)
    assert each.interval(0.9) == pytest.approx(stats.norm.interval(0.9, value, error))


def test_an_estimate_without_a_standard_error_has_no_p_and_breaks_nothing() -> None:
    assert "nan" in table_text("t", [], [Estimate("x", 1.0, 0.0)])


def test_the_table_reads_as_statisticians_are_used_to() -> None:
    text = table_text(
        "Logistic regression", [("Hospitals", "4"), ("Rounds", "6"), ("Mode", "private")], [Estimate("age", 0.02133, 0.01262)]
    )
    assert text.splitlines() == [
        " " * 30 + "Logistic regression",
        "=" * 79,
        "Hospitals:                           4   Rounds:                              6",
        "Mode:                          private",
        "=" * 79,
        " " * 20 + "coef    std err          z      P>|z|     [0.025     0.975]",
        "-" * 79,
        "age               0.0213      0.013      1.690      0.091     -0.003      0.046",
        "=" * 79,
    ]


def test_a_chinese_name_takes_two_columns_a_character() -> None:
    names = ("年龄", "血压很高的患者的年龄", "age")
    rows = table_text("t", [("医院", "4"), ("x", "y")], [Estimate(name, 1.0, 0.5) for name in names]).splitlines()
    wide = [sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in row) for row in rows if "0.500" in row]
    assert len(wide) == 3
    assert len(set(wide)) == 1
