"""The outcome of the attacks for people, in English and Chinese, for machines, and as a chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.table import Table

from audit_ledger.words import Words
from protocols.contract import CONTRACT
from simulations.attacks.attack import Outcome

mpl.use("Agg")

from matplotlib.figure import Figure

NAMES = {
    "membership": ("membership", "成员推断"),
    "averaging": ("averaging", "重复平均"),
    "differencing": ("differencing", "两问相减"),
    "covariance": ("covariance", "协方差重建"),
    "bucket": ("one bucket", "居民单桶"),
}


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {"delta": str(float(CONTRACT.delta)), "guessing": 0.5, "attacks": [_row(each) for each in outcomes]}


def _row(found: Outcome) -> dict[str, Any]:
    last = found.steps[-1]
    return {
        "name": found.name,
        "questions": len(found.steps) + (found.name == "differencing"),
        "refused": list(found.refusal),
        "targets": found.targets,
        "epsilon": last.epsilon,
        "recovered": found.recovered,
        "recovered_95": found.half_width,
        "by_noise": found.by_noise,
        "allowed": last.allowed,
        "without_noise": found.without_noise,
        "is_within": found.is_within,
        "is_as_predicted": found.is_as_predicted,
        "steps": [{"epsilon": each.epsilon, "recovered": each.recovered, "allowed": each.allowed} for each in found.steps],
    }


def table(outcomes: Sequence[Outcome], words: Words) -> Table:
    """One line an attack; every share is of fair coins, so that 50 % is guessing."""
    say = words.say
    shown = Table("", title=say("share of secrets guessed right; a coin gets 50 %", "猜中秘密的比例；随机猜测为 50%"))
    shown.caption = say(
        f"ε at δ = {float(CONTRACT.delta):g}; asked: about each secret; bare: the same attack on records without noise; recovered: "
        "± 95 %, which one attack of twenty misses by chance; by noise: what the stated noise predicts, ≠ if not both can be "
        "right; allowed: the most that (ε, δ) leaves; × : then refused by the budget",
        f"ε 对应 δ = {float(CONTRACT.delta):g}；提问：针对每个秘密；无噪声：同一攻击作用于无噪声数据；实测：± 95%，"
        "每二十次攻击约有一次因偶然而落在其外；按噪声：所述噪声的预期，≠ 表示两者不可能都对；"
        "允许：(ε, δ) 的上限；× ：其后被预算拒绝",
    )
    columns = [
        say("attack", "攻击"),
        say("secrets", "秘密数"),
        say("asked", "提问"),
        "ε",
        say("bare", "无噪声"),
        say("recovered", "实测"),
        say("by noise", "按噪声"),
        say("allowed", "允许"),
    ]
    for each in columns:
        shown.add_column(each)
    for found, row in zip(outcomes, as_json(outcomes)["attacks"], strict=True):
        refused = " ×" if found.refusal else ""
        shares = (row["without_noise"], row["recovered"], row["by_noise"], row["allowed"])
        bare, recovered, by_noise, allowed = (f"{share:.1%}" for share in shares)
        mark = "[green]✓[/]" if found.is_within and found.is_as_predicted else "[red]✗[/]"
        by_noise += "" if found.is_as_predicted else " ≠"
        recovered += f" ± {row['recovered_95']:.1%}"
        cells = (f"{row['targets']:,}", f"{row['questions']}{refused}", f"{row['epsilon']:.2f}", bare, recovered, by_noise, allowed)
        shown.add_row(mark, say(*NAMES[found.name]), *cells)
    return shown


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Recovered share against epsilon spent, answer by answer, below the line of what is allowed."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = sorted({(each.epsilon, each.allowed) for found in outcomes for each in found.steps})
    axes.plot(*zip(*steps, strict=True), color="#555555", linestyle="--", label=r"$(\varepsilon, \delta)$ allows")
    for found in outcomes:
        spent, right = [each.epsilon for each in found.steps], [each.recovered for each in found.steps]
        axes.plot(spent, right, marker="o", markersize=3, label=found.name)
    axes.axhline(0.5, color="#bbbbbb", linewidth=0.8)
    axes.set(xlabel=r"$\varepsilon$ spent on the patient's block", ylabel="secrets guessed right", ylim=(0.45, 1))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
