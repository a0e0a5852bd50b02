"""Curves from histograms: survival with log-rank, ROC and calibration."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coordinator.client.fits.comparisons import concordance
from coordinator.client.fits.result import Estimate, Result, by_noise, stated
from coordinator.client.fits.tails import chi_square
from privacy.survival import LEAST_COUNT
from protocols.fits import Floats, KaplanMeier, Roc


def kaplan_meier(spec: KaplanMeier, values: Floats, sd: float) -> Result:
    """Survival to each edge by group (Greenwood's variance and the noise's); the log-rank test between groups that are told."""
    grid, estimates = len(spec.edges), []
    for name, entries in zip(spec.names, values.reshape(len(spec.names), -1), strict=True):
        estimates += curve([f"{name} to {edge}" for edge in spec.edges], entries, sd)
    figures = rank_test(values.reshape(len(spec.names), -1), grid, sd) or {}
    rows = float(values.sum())
    return Result(tuple(estimates), {"rows": rows, **figures}, is_drowned=bool(sd and rows < 10 * sd * math.sqrt(len(values))))


def curve(names: Sequence[str], entries: Floats, sd: float) -> list[Estimate]:
    """Survival to each edge of one group, with Greenwood's variance and the noise's; NaN from where it is lost in noise."""
    grid = len(names)
    events, at_risk = _counts(entries, grid)
    survived = np.where(is_told(entries, grid, sd), _survival(entries, grid), np.nan)
    left = np.maximum(at_risk - events, 1.0)
    sampled = survived**2 * np.cumsum(np.maximum(events, 0.0) / (at_risk * left))
    noise = np.diag(by_noise(lambda each: _survival(each, grid), entries, sd))
    return [stated(name, value, variance) for name, value, variance in zip(names, survived, sampled + noise, strict=True)]


def is_told(entries: Floats, grid: int, sd: float) -> NDArray[np.bool_]:
    """To which edges: until those left are as few as noise alone makes (the rule of `privacy.survival`); exact, until nobody is.

    A group that nobody is in has ends of noise: what they would say is no curve, and their spread no interval.
    """
    events, ended = entries[:grid], entries[:grid] + entries[grid:-1]
    at_risk = ended[::-1].cumsum()[::-1] + entries[-1]
    left, drawn = at_risk - events, 2.0 * (grid - np.arange(grid))
    return np.logical_and.accumulate(left > LEAST_COUNT * sd * np.sqrt(drawn) if sd else at_risk > 0)


def _counts(entries: Floats, grid: int) -> tuple[Floats, Floats]:
    """Events and rows at risk by interval. Who is censored in an interval is at risk for its events."""
    events, censored = entries[:grid], entries[grid:]
    ended = events + censored[:-1]
    at_risk = ended[::-1].cumsum()[::-1] + censored[-1]
    return events, np.maximum(at_risk, 1.0)


def _survival(entries: Floats, grid: int) -> Floats:
    events, at_risk = _counts(entries, grid)
    return np.asarray(np.cumprod(1 - np.clip(events / at_risk, 0.0, 1.0)), np.float64)


def rank_test(groups: Floats, grid: int, sd: float) -> dict[str, float] | None:
    """The log-rank test between the groups (a row each) of which anything is told; None where they are not two.

    A group lost in noise would add a degree of freedom and noise, and hide the difference of the others.
    """
    told = groups[[bool(is_told(row, grid, sd)[0]) for row in groups]]
    return log_rank(told.reshape(-1), len(told), grid, sd) if len(told) > 1 else None


def log_rank(values: Floats, groups: int, grid: int, sd: float) -> dict[str, float]:
    """Of groups laid side by side, each as `curve` takes one."""
    excess = _excess(values, groups, grid)
    parts = [_counts(each, grid) for each in values.reshape(groups, -1)]
    events, at_risk = np.sum([each for each, _ in parts], axis=0), np.array([each for _, each in parts])
    total = at_risk.sum(axis=0)
    share = at_risk / total
    hyper = np.maximum(events * (total - events), 0.0) / np.maximum(total - 1, 1.0)
    drawn: Floats = np.einsum("k,gk,hk->gh", -hyper, share, share) + np.diag((hyper * share).sum(axis=1))
    noise = by_noise(lambda each: _excess(each, groups, grid), values, sd)
    statistic = float(excess @ np.linalg.pinv(drawn[:-1, :-1] + noise, hermitian=True) @ excess)
    return {"chi_square": statistic, "df": groups - 1.0, "p": chi_square(statistic, groups - 1)}


def _excess(values: Floats, groups: int, grid: int) -> Floats:
    """Observed less expected events of all groups but the last."""
    parts = [_counts(each, grid) for each in values.reshape(groups, -1)]
    events, at_risk = np.array([each for each, _ in parts]), np.array([each for _, each in parts])
    expected = at_risk / at_risk.sum(axis=0) * events.sum(axis=0)
    excess: Floats = (events - expected).sum(axis=1)[:-1]
    return excess


def roc(spec: Roc, values: Floats, sd: float) -> Result:
    """AUC; observed less expected chance over all rows; observed shares by bin where a bin's rows stand out of the noise."""
    without, having, expected = (values / spec.scale).reshape(3, -1)
    auc, figures = concordance("AUC", np.concatenate([without, having]), sd)
    rows = max(without.sum() + having.sum(), 1.0)
    gap = (having.sum() - expected.sum()) / rows
    share = min(max(having.sum() / rows, 0.0), 1.0)
    noise = sd**2 * spec.bins * (2 + 2 * gap**2 - 2 * gap) / rows**2
    large = stated("observed - expected", gap, share * (1 - share) / rows + noise)
    is_drowned = bool(sd and min(figures.values()) < 10 * sd * math.sqrt(spec.bins))
    return Result((auc, large, *_bins(without, having, sd)), {"rows": rows, "events": having.sum()}, is_drowned=is_drowned)


def _bins(without: Floats, having: Floats, sd: float) -> list[Estimate]:
    number, told = len(having), []
    for n, (no, yes) in enumerate(zip(without, having, strict=True)):
        rows = no + yes
        if rows <= max(6 * sd, 1.0):
            continue
        share = yes / rows
        sampled = min(max(share * (1 - share), 0.0), 0.25) / rows
        noise = sd**2 * ((1 - share) ** 2 + share**2) / rows**2
        told.append(stated(f"observed at {n / number:.3g}-{(n + 1) / number:.3g}", share, sampled + noise))
    return told
