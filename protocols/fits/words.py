"""A fit in words, for the auditor who approves it and the hospital that is asked: what of which table, by what, over which days."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from protocols.fits.comparison import Compared
from protocols.fits.multivariate import KMeans
from protocols.fits.scoring import Roc
from protocols.fits.shape import Fit
from protocols.fits.survival import Cox, KaplanMeier, StratifiedCox
from protocols.fits.terms import Numeric, Variable
from protocols.fits.training import Training
from protocols.query.words import Language

if TYPE_CHECKING:
    from protocols.fit import FitSpec

NAMES: dict[str, tuple[str, str]] = {
    "linear": ("线性回归", "linear regression"),
    "logistic": ("逻辑回归", "logistic regression"),
    "poisson": ("泊松回归", "Poisson regression"),
    "negative_binomial": ("负二项回归", "negative binomial regression"),
    "t_test": ("Welch t 检验", "t-test (Welch)"),
    "anova": ("方差分析", "analysis of variance"),
    "cox": ("Cox 回归", "Cox regression"),
    "cox_stratified": ("按医院分层的 Cox 回归", "Cox regression stratified by hospital"),
    "kaplan_meier": ("Kaplan-Meier 生存曲线", "Kaplan-Meier curve"),
    "mann_whitney": ("Mann-Whitney 检验", "Mann-Whitney test"),
    "roc": ("ROC 与校准", "ROC and calibration"),
    "pca": ("主成分分析", "principal components"),
    "meta_analysis": ("荟萃分析", "meta-analysis"),
    "k_means": ("k-means 聚类", "k-means clusters"),
    "dp_sgd": ("DP-SGD 联合训练", "training (DP-SGD)"),
    "dp_fedavg": ("DP-FedAvg 联合训练", "training (DP-FedAvg)"),
}


def fit_in_words(spec: FitSpec | Fit, rounds: int, language: Language) -> str:
    """What is fitted, by which columns, over which days and in how many rounds, each on its line; of a training also its study."""
    is_chinese = language is Language.ZH
    name = NAMES[spec.fit][0 if is_chinese else 1]
    what, by = _parts(spec) if isinstance(spec, Fit) else (f"visit_class={spec.outcome}", list(map(str, spec.columns)))
    if is_chinese:
        head = f"{name}（{spec.table}）" + (f"，结果为 {what}" if what else "")
        return "\n".join((head, f"变量：{'、'.join(by)}", *_study(spec, is_chinese=True), f"{_days_zh(spec)}；{rounds} 轮"))
    head = f"A {name} over {spec.table}" + (f": the outcome is {what}" if what else "")
    days = f"{_days_en(spec)}; {rounds} round{'s' if rounds > 1 else ''}"
    return "\n".join((head, f"Columns: {', '.join(by)}", *_study(spec, is_chinese=False), days))


def _study(spec: FitSpec | Fit, *, is_chinese: bool) -> Iterator[str]:
    """Whose code runs at the hospitals, by its hash: who approves a training approves that."""
    if not isinstance(spec, Training):
        return
    study, tested = f"{spec.study.name} {spec.study.version}, sha256 {spec.study.sha256}", Fraction(getattr(spec, "held_out", "0"))
    if is_chinese:
        study = study.replace(", ", "，")
        yield f"研究程序：{study}" + (f"；留出 {float(tested):.0%} 病人做检验" if tested else "")
        return
    yield f"Study: {study}" + (f"; {float(tested):.0%} of patients held out for a test" if tested else "")


def _parts(spec: Fit) -> tuple[str, list[str]]:
    """The outcome, and the columns that explain it; without an outcome all columns."""
    told = [_column(each) for each in spec.variables]
    if isinstance(spec, Compared):
        return told[0], told[1:]
    if isinstance(spec, KaplanMeier):
        return f"{told[0]} / {told[1]}", [*told[2:], f"{len(spec.edges)} intervals"]
    if isinstance(spec, Cox):
        return f"{told[-2]} / {told[-1]}", [*told[:-2], f"{len(spec.edges)} intervals"]
    if isinstance(spec, StratifiedCox):
        return f"{told[-2]} / {told[-1]}", [*told[:-2], f"{spec.ties} ties"]
    if isinstance(spec, KMeans):
        return "", [*told, f"{spec.clusters} clusters"]
    if isinstance(spec, Roc):
        return told[-1], [f"{weight} * {each}" for each, weight in zip(["1", *told[:-1]], spec.weights, strict=True)]
    outcome = getattr(spec, "outcome", None)
    return ("", told) if outcome is None else (_column(outcome), [each for each in told if each != _column(outcome)])


def _column(variable: Variable) -> str:
    if isinstance(variable, Numeric):
        return f"{variable.column} [{variable.low}, {variable.high}]" + (f" {variable.unit}" if variable.unit else "")
    return variable.label


def _days_en(spec: FitSpec | Fit) -> str:
    if spec.period is None:
        return f"Time: none, the block is {spec.blocks[0]}"
    return f"Time: from {spec.period.start}, before {spec.period.end}"


def _days_zh(spec: FitSpec | Fit) -> str:
    if spec.period is None:
        return f"时间：无，区块为 {spec.blocks[0]}"
    return f"时间：{spec.period.start} 起，{spec.period.end} 前（不含）"
