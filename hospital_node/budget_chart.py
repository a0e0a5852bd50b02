"""The budget drawn: one panel a purpose, one bar a month of records (a research table without dates has one bar), spent and left.

Every panel has the same scale, so that the limits of purposes can be compared by eye. A month that has paid nothing between two
that have is shown with all of it left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audit_ledger.party.drawing import CITY_COLOUR, LINE_COLOUR
from hospital_node.budget import PURPOSES
from hospital_node.commands import say
from hospital_node.policy import Policy
from hospital_node.records.report_text import Lang
from privacy.conversion import epsilon_at
from privacy.filter import NOTHING, Spent

LEFT_COLOUR = "#d9dee4"
MOST_LABELS = 18
Spends = Mapping[tuple[str, str], Spent]


@dataclass(frozen=True, slots=True)
class Accounts:
    """What is drawn: the blocks in order, and of each purpose its limit and what each block has spent of it."""

    blocks: tuple[str, ...]
    limits: Mapping[str, Fraction]
    spent: Spends
    order: int
    delta: Fraction

    @classmethod
    def of(cls, policy: Policy, spent: Spends) -> Self:
        """Purposes that the policy permits, and those that it did when they spent."""
        purposes = [each for each in PURPOSES if each in policy.purposes or any(purpose == each for purpose, _ in spent)]
        limits = {each: policy.budget.limit(each) for each in purposes}
        return cls(_blocks({block for _, block in spent}), limits, spent, policy.order, policy.delta)

    def of_purpose(self, purpose: str) -> list[Fraction]:
        return [self.spent.get((purpose, block), NOTHING).single for block in self.blocks]


def _blocks(paid: set[str]) -> tuple[str, ...]:
    """Every month from the first to the last that has paid, then tables without dates."""
    months = sorted(each for each in paid if not each.startswith("static:"))
    between = range(_number(months[0]), _number(months[-1]) + 1) if months else ()
    return (*(f"{number // 12:04d}-{number % 12 + 1:02d}" for number in between), *sorted(paid - set(months)))


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1


def figure_of(found: Accounts, lang: Lang) -> Figure:
    rows = max(1, len(found.limits))
    figure = Figure(figsize=(11, 1.3 + 2.2 * rows), layout="constrained")
    figure.suptitle(say(lang, "privacy budget by month of records", "各月记录的隐私预算"))
    shared: Axes | None = None
    for row, (purpose, limit) in enumerate(found.limits.items()):
        axes = figure.add_subplot(rows, 1, row + 1, sharex=shared, sharey=shared)
        shared = shared or axes
        _panel(axes, found, purpose, limit, lang)
        axes.tick_params(axis="x", labelbottom=row == rows - 1)
    if shared:
        shared.set_ylim(0, float(max(*found.limits.values(), *(each.single for each in found.spent.values()), Fraction(0))) * 1.18)
        figure.legend(*shared.get_legend_handles_labels(), loc="outside upper right", frameon=False, fontsize=8, ncols=3)
    told = (
        f"Rényi budget at order {found.order}; δ = {float(found.delta):g}",
        f"Rényi 预算，阶 {found.order}；δ = {float(found.delta):g}",
    )
    figure.supxlabel(say(lang, *told), fontsize=8, color="0.35")
    return figure


def _panel(axes: Axes, found: Accounts, purpose: str, limit: Fraction, lang: Lang) -> None:
    spent, places = found.of_purpose(purpose), range(len(found.blocks))
    left = [max(limit - each, Fraction(0)) for each in spent]
    axes.bar(places, _floats(spent), 0.72, color=CITY_COLOUR, label=say(lang, "spent", "已用"))
    axes.bar(places, _floats(left), 0.72, _floats(spent), color=LEFT_COLOUR, label=say(lang, "left", "剩余"))
    axes.axhline(float(limit), color=LINE_COLOUR, linewidth=1.2, label=say(lang, "limit", "上限"))
    epsilon = float(epsilon_at(limit, found.order, found.delta))
    name, most = say(lang, *PURPOSES[purpose]), f"{float(limit):.4f}"
    title = (f"{name}: at most {most} a month, ε = {epsilon:.2f}", f"{name}：每月至多 {most}，ε = {epsilon:.2f}")
    axes.set_title(say(lang, *title), fontsize=9, loc="left")
    if len(places) <= MOST_LABELS and limit:
        for place, each in zip(places, spent, strict=True):
            if each:
                axes.annotate(
                    f"{float(each / limit):.0%}", (place, float(each)), (0, 2), textcoords="offset points", ha="center", fontsize=7
                )
    step = max(1, -(-len(places) // MOST_LABELS))
    named = [place for place in places if place % step == 0 or found.blocks[place].startswith("static:")]
    axes.set_xticks(named, [_label(found.blocks[place]) for place in named], fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _label(block: str) -> str:
    return block.removeprefix("static:") if block.startswith("static:") else block.replace("-", "\n", 1)


def _floats(values: list[Fraction]) -> list[float]:
    return [float(each) for each in values]
