"""Groups compared: means with their noise in the variance of each, ranks from histograms."""

import math
from dataclasses import replace

import numpy as np

from coordinator.client.fits.result import Estimate, Result, by_noise, stated, tested
from coordinator.client.fits.tails import chi_square, fisher, normal, student
from protocols.fits import Floats, MannWhitney, Means, MetaAnalysis, TTest


def means(spec: Means, values: Floats, sd: float) -> Result:
    """Welch's t for two groups, for more a test of all means by weights that count the noise; without noise it is Fisher's F."""
    rows, sums, squares = (values / spec.scale).reshape(3, -1)
    rows = np.maximum(rows, 1.0)
    centre = sums / rows
    spread = np.maximum(squares - rows * centre**2, 0.0) / np.maximum(rows - 1, 1.0)
    noise = sd**2 * (1 + centre**2) / rows**2
    half, middle = spec.outcome.half, spec.outcome.middle
    variances = spread / rows + noise
    told = [
        stated(f"mean {n}", middle + half * m, half**2 * v)
        for n, m, v in zip(spec.groups.categories, centre, variances, strict=True)
    ]
    is_drowned = bool(sd > 0 and (rows < 10 * sd).any())
    tested = (
        _welch(centre, variances, spread / rows, rows, half) if isinstance(spec, TTest) else _anova(centre, spread, noise, rows)
    )
    return Result((*tested[0], *told), {"rows": float(rows.sum()), **tested[1]}, is_drowned=is_drowned)


Tested = tuple[tuple[Estimate, ...], dict[str, float]]


def _welch(centre: Floats, variances: Floats, sampled: Floats, rows: Floats, half: float) -> Tested:
    apart, variance = centre[0] - centre[1], variances.sum()
    error = math.sqrt(variance) if variance > 0 else math.nan
    # Noise has a known size: it takes no degrees of freedom.
    below = (sampled**2 / np.maximum(rows - 1, 1.0)).sum()
    freedom = variance**2 / below if below > 0 else math.inf
    p_value = student(apart / error, freedom)
    return (Estimate("difference", half * apart, half * error, p_value),), {"t": apart / error, "df": freedom, "p": p_value}


def _anova(centre: Floats, spread: Floats, noise: Floats, rows: Floats) -> Tested:
    groups, freedom = len(centre), max(rows.sum() - len(centre), 1.0)
    pooled = ((rows - 1) * spread).sum() / freedom
    weights = 1 / (pooled / rows + noise)
    overall = (weights * centre).sum() / weights.sum()
    f = float((weights * (centre - overall) ** 2).sum() / (groups - 1))
    return (), {"F": f, "df": groups - 1.0, "df_within": freedom, "p": fisher(f, groups - 1, freedom)}


def meta_analysis(spec: MetaAnalysis, values: Floats, sd: float) -> Result:
    """The fixed effect over hospitals, Cochran's Q and I^2 at the public spread within them; Q's noise stands beside it."""
    weights, weighted, squared = values / spec.scale * (1, 2, 12)
    weights = max(weights, 1e-9)
    half, within = spec.outcome.half, (float(spec.within_sd) / spec.outcome.half) ** 2
    effect = weighted / weights
    variance = within / weights + sd**2 * (4 + effect**2) / weights**2
    q = (squared - weighted**2 / weights) / within
    q_noise = sd * math.sqrt(144 + 16 * effect**2 + effect**4) / within
    told = {"Q": q, "Q noise sd": q_noise, "weight": weights}
    return Result((tested("difference", half * effect, half**2 * variance),), told, is_drowned=bool(sd and weights < 10 * sd))


def heterogeneity(result: Result, hospitals: int) -> Result:
    """I^2 and the p of Q over this many hospitals; where Q has noise, by the normal distribution, the noise in its variance."""
    q, noise, freedom = result.figures["Q"], result.figures["Q noise sd"], max(hospitals - 1, 1)
    z = (q - freedom) / math.sqrt(2 * freedom + noise**2)
    p = normal(z) / 2 if z > 0 else 1 - normal(z) / 2
    told = {"hospitals": float(hospitals), "I squared": max(0.0, 1 - freedom / q) if q > 0 else 0.0}
    return replace(result, figures={**result.figures, **told, "p": chi_square(q, freedom) if noise == 0 else p})


def mann_whitney(spec: MannWhitney, values: Floats, sd: float) -> Result:
    """The chance that a row of the second group lies above one of the first, half of it for ties within a bin."""
    estimate, figures = concordance("second above first", values, sd)
    z = (estimate.value - 0.5) / estimate.standard_error if estimate.standard_error > 0 else math.nan
    return Result((estimate,), {**figures, "z": z, "p": normal(z)}, is_drowned=_few(figures, sd, spec.bins))


def concordance(name: str, histograms: Floats, sd: float) -> tuple[Estimate, dict[str, float]]:
    """P(Y > X) + P(Y = X) / 2 from the histograms of X and then of Y, with DeLong's variance and that of the noise."""
    value = float(_above(histograms)[0])
    lower, upper = histograms.reshape(2, -1)
    first, second = max(lower.sum(), 2.0), max(upper.sum(), 2.0)
    of_upper, of_lower = (np.cumsum(lower) - lower / 2) / first, 1 - (np.cumsum(upper) - upper / 2) / second
    sampled = (upper * (of_upper - value) ** 2).sum() / (second * (second - 1)) + (lower * (of_lower - value) ** 2).sum() / (
        first * (first - 1)
    )
    noise = float(by_noise(_above, histograms, sd)[0, 0])
    return stated(name, value, max(float(sampled), 0.0) + noise), {
        "rows_first": float(lower.sum()),
        "rows_second": float(upper.sum()),
    }


def _above(histograms: Floats) -> Floats:
    lower, upper = histograms.reshape(2, -1)
    pairs = max(lower.sum(), 1.0) * max(upper.sum(), 1.0)
    return np.array([(upper * (np.cumsum(lower) - lower / 2)).sum() / pairs])


def _few(figures: dict[str, float], sd: float, bins: int) -> bool:
    """Whether the noise of a whole histogram is a tenth of its rows."""
    return sd > 0 and min(figures["rows_first"], figures["rows_second"]) < 10 * sd * math.sqrt(bins)
