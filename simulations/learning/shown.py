"""A training for people, in English and Chinese, and as a chart of symbols: accuracy and log-loss by round."""

from pathlib import Path

import matplotlib as mpl
from rich.table import Table

from audit_ledger.words import Words
from protocols.contract import CONTRACT
from simulations.learning.run import Learned

mpl.use("Agg")

from matplotlib.figure import Figure

LINES = 6


def table(found: Learned, words: Words) -> Table:
    """Some rounds of both trainings, the last among them."""
    say = words.say
    delta = f"{float(CONTRACT.delta):g}"
    title = say(
        f"{found.study}, {found.strategy}, {found.hospitals} virtual hospitals, ε = {found.epsilon:.2f} at δ = {delta}",
        f"{found.study}，{found.strategy}，{found.hospitals} 家虚拟医院，ε = {found.epsilon:.2f}（δ = {delta}）",
    )
    heads = [
        say("round", "轮次"), say("accuracy", "准确率"), say("without noise", "无噪声"), say("log-loss", "对数损失"),
        say("without noise", "无噪声"),
    ]  # fmt: skip
    shown = Table(*heads, title=title)
    for place in _places(len(found.private)):
        ours, bare = found.private[place], found.without_noise[place]
        cells = (f"{ours.accuracy:.1%}", f"{bare.accuracy:.1%}", f"{ours.log_loss:.3f}", f"{bare.log_loss:.3f}")
        shown.add_row(str(ours.round), *cells)
    return shown


def _places(many: int) -> list[int]:
    return sorted({round(place * (many - 1) / (LINES - 1)) for place in range(LINES)})


def draw(found: Learned, *paths: Path) -> None:
    """Symbols and English terms of the field only; the words around it are the table's."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ours, bare = rf"$\varepsilon = {found.epsilon:.2f}$", r"$\varepsilon = \infty$"
    curves = ((ours, found.private, "#c0392b"), (bare, found.without_noise, "#777777"))
    for label, curve, colour in curves:
        rounds, style = [each.round for each in curve], "-" if curve is found.private else "--"
        left.plot(rounds, [each.accuracy for each in curve], color=colour, linestyle=style, label=label)
        right.plot(rounds, [each.log_loss for each in curve], color=colour, linestyle=style, label=label)
    left.set(xlabel="round", ylabel="accuracy")
    right.set(xlabel="round", ylabel="log-loss")
    left.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    for axes in (left, right):
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    left.legend(frameon=False, loc="lower right")
    figure.suptitle(f"{found.study} · {found.strategy} · n = {found.hospitals}")
    for path in paths:
        figure.savefig(path, dpi=150)
