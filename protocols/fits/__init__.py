"""Models as rounds over registered tables: each kind of fit is one type, read from the JSON of a query's `spec`."""

from typing import Any

from pydantic import ValidationError

from protocols.errors import MalformedBytes
from protocols.fits.comparison import Anova, Compared, Groups, MannWhitney, Means, TTest
from protocols.fits.evaluated import Evaluated, FedAvgTraining
from protocols.fits.meta import MetaAnalysis
from protocols.fits.multivariate import KMeans, Pca
from protocols.fits.regression import Count, Linear, Logistic, NegativeBinomial, Newton, Poisson
from protocols.fits.scoring import Roc
from protocols.fits.shape import Fit, Floats, first_problem, own_units, symmetric, triangle
from protocols.fits.survival import Cox, KaplanMeier, StratifiedCox
from protocols.fits.terms import INTERCEPT, Category, Numeric, Span, Variable
from protocols.fits.training import Training

KINDS: dict[str, type[Fit]] = {
    "linear": Linear,
    "logistic": Logistic,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "t_test": TTest,
    "anova": Anova,
    "cox": Cox,
    "kaplan_meier": KaplanMeier,
    "mann_whitney": MannWhitney,
    "roc": Roc,
    "pca": Pca,
    "k_means": KMeans,
    "meta_analysis": MetaAnalysis,
}
"""Statistics, whose contributions this program computes itself; a training's model comes from a study."""
EXACT_KINDS: dict[str, type[Fit]] = {"cox_stratified": StratifiedCox}
"""Statistics that are asked in exact mode or not at all."""
TRAININGS: tuple[type[Training], ...] = (Training, Evaluated, FedAvgTraining)


def read(data: dict[str, Any]) -> Fit:
    """The fit of a registered table that this JSON states, in its one encoding. Raises MalformedBytes with the place."""
    return _kind(data).from_json(data)


def of_fields(fields: dict[str, Any]) -> Fit:
    """The fit that a person wrote, what may be left out filled in. Raises MalformedBytes with the place."""
    try:
        return read(_kind(fields).model_validate(fields, strict=False).to_json())
    except ValidationError as error:
        raise MalformedBytes(f"fit: {first_problem(error)}") from None


def _kind(data: dict[str, Any]) -> type[Fit]:
    kinds: dict[str, type[Fit]] = {**KINDS, **EXACT_KINDS, "dp_sgd": Training, "dp_fedavg": FedAvgTraining}
    kind = kinds.get(str(data.get("fit")))
    if kind is Training and data.get("version") == Evaluated.model_fields["version"].default:
        return Evaluated
    if kind is None:
        raise MalformedBytes(f"fit: expected one of {', '.join(kinds)}")
    return kind


__all__ = [
    "EXACT_KINDS", "INTERCEPT", "KINDS", "TRAININGS", "Anova", "Category", "Compared", "Count", "Cox", "Evaluated",
    "FedAvgTraining", "Fit", "Floats", "Groups", "KMeans", "KaplanMeier", "Linear", "Logistic", "MannWhitney", "Means",
    "MetaAnalysis", "NegativeBinomial", "Newton", "Numeric", "Pca", "Poisson", "Roc", "Span", "StratifiedCox", "TTest",
    "Training", "Variable", "of_fields", "own_units", "read", "symmetric", "triangle",
]  # fmt: skip
