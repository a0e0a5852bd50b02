"""UCI heart: four real hospitals in the five that exact mode needs, and the pooled logistic regression of another program.

Cleveland's patients are in two of them: which hospital a row is at changes nothing in a pooled fit, and the floor holds.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from simulations.research.table import MISSING, Cohort

Floats = npt.NDArray[np.float64]
NAMES = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num")
COHORT = Cohort(
    "heart",
    "heart-2026",
    "UCI heart disease",
    {
        "age": ("20", "80", "years"), "trestbps": ("0", "200", "mmHg"), "chol": ("0", "610", "mg/dl"),
        "thalach": ("60", "210", "bpm"), "oldpeak": ("-3", "7", "mm"),
    },
    {"sex": "01", "cp": "1234", "fbs": "01", "restecg": "012", "exang": "01", "disease": "01"},
)  # fmt: skip
EXPLAINING = ("sex", "cp", "fbs", "restecg", "exang")
FEATURES: list[dict[str, Any]] = [
    *map(COHORT.number, COHORT.numbers),
    *(each for name in EXPLAINING for each in COHORT.dummies(name)),
]
USED = (*COHORT.numbers, *EXPLAINING)


def patients(folder: Path, site: str) -> list[dict[str, str]]:
    """The published rows; categories as whole numbers (written 1 or 1.0), the classes of disease as one."""
    found = [dict(zip(NAMES, line.split(","), strict=True)) for line in (folder / f"processed.{site}.data").read_text().split()]
    return [{name: _cell(name, cell) for name, cell in row.items()} | {"disease": str(int(float(row["num"]) > 0))} for row in found]


def _cell(name: str, text: str) -> str:
    return text if text == MISSING or name in COHORT.numbers else str(int(float(text)))


def hospitals(folder: Path) -> list[list[dict[str, str]]]:
    cleveland = patients(folder, "cleveland")
    return [cleveland[:150], cleveland[150:], *(patients(folder, site) for site in ("hungarian", "switzerland", "va"))]


def fit(**changes: Any) -> dict[str, Any]:
    """The logistic regression of disease on thirteen columns."""
    return {**COHORT.head(), "fit": "logistic", "outcome": {"column": "disease", "category": "1"}, "features": FEATURES, **changes}


def pooled(held: Iterable[list[dict[str, str]]]) -> tuple[Floats, Floats]:
    """Weights and standard errors of the complete rows of all hospitals, in the columns' own units.

    By scipy's minimizer of the likelihood written out here, and Newton's last digits: no line is the product's.
    """
    rows = [row for each in held for row in each if MISSING not in [row[name] for name in USED]]
    told = [[float(row[each["column"]]) if "low" in each else float(row[each["column"]] == each["category"]) for each in FEATURES]
            for row in rows]  # fmt: skip
    x, y = np.column_stack([np.ones(len(rows)), np.array(told)]), np.array([float(row["disease"]) for row in rows])
    spread = np.r_[1.0, x[:, 1:].std(axis=0)]
    unit = x / spread

    def minus(weights: Floats) -> float:
        score = unit @ weights
        return float(np.logaddexp(0, score).sum() - y @ score)

    def slope(weights: Floats) -> Floats:
        downhill: Floats = unit.T @ (1 / (1 + np.exp(-unit @ weights)) - y)
        return downhill

    weights = optimize.minimize(minus, np.zeros(unit.shape[1]), jac=slope, method="BFGS", options={"gtol": 1e-6}).x
    for _ in range(3):
        chance = 1 / (1 + np.exp(-unit @ weights))
        information = unit.T @ (unit * (chance * (1 - chance))[:, None])
        weights = weights - np.linalg.solve(information, slope(weights))
    return weights / spread, np.sqrt(np.diag(np.linalg.inv(information))) / spread
