"""TCGA-BRCA: six regions as hospitals, and their pooled Cox regressions.

The benchmark's 1,088 patients: those with a place in its split, whose last digit is the region. The columns are public functions
of the published one-hot table, chosen before any fit.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulations.research import survival
from simulations.research.table import Cohort

Floats = npt.NDArray[np.float64]
REGIONS = 6
LONGEST = 9000
EDGES = ("365", "730", "1095", "1460", "1825", "2555", "3650", "9000")
STAGES = ("I or not stated", "IIA", "IIB", "IIIA", "IIIC")
COHORT = Cohort(
    "brca",
    "brca-2026",
    "TCGA-BRCA, overall survival",
    {"age": ("25", "95", "years"), "days": ("0", str(LONGEST), "days")},
    {"white": ("no", "yes"), "stage": STAGES, "dead": ("no", "yes")},
)
FEATURES: list[dict[str, Any]] = [COHORT.number("age"), *COHORT.dummies("white"), *COHORT.dummies("stage")]
SURVIVAL: dict[str, Any] = {"time": COHORT.number("days"), "event": {"column": "dead", "category": "yes"}, "features": FEATURES}


def hospitals(folder: Path) -> list[list[dict[str, str]]]:
    """By region, in the order of its digit: 311, 196, 206, 162, 162 and 51 patients."""
    with (folder / "train_test_split.csv").open(newline="") as split, (folder / "brca.csv").open(newline="") as table:
        region = {row["pid"]: int(row["fold2"][-1]) for row in csv.DictReader(split)}
        held: list[list[dict[str, str]]] = [[] for _ in range(REGIONS)]
        for row in csv.DictReader(table):
            if row["pid"] in region:
                held[region[row["pid"]]].append(_patient(row))
    return held


def _patient(row: dict[str, str]) -> dict[str, str]:
    stage = next((each for each in STAGES[1:] if row[f"ajcc_pathologic_stage_Stage {each}"] == "1"), STAGES[0])
    yes = {"1": "yes", "0": "no"}
    white, dead = yes[row["race_white"]], yes[str(int(float(row["E"])))]
    return {"age": row["age_at_index"], "days": row["T"], "white": white, "stage": stage, "dead": dead}


def stratified(ties: str = "efron") -> dict[str, Any]:
    """Each region's patients at risk among themselves."""
    return {**COHORT.head(), "fit": "cox_stratified", **SURVIVAL, "ties": ties}


def on_grid(row_clip: str | None = None) -> dict[str, Any]:
    """All regions together, on a public grid of years."""
    return {**COHORT.head(), "fit": "cox", **SURVIVAL, "edges": list(EDGES), "row_clip": row_clip}


def columns(rows: Sequence[dict[str, str]]) -> tuple[Floats, Floats, "npt.NDArray[np.bool_]"]:
    """Features in their own units, days, and who died."""
    told = [[float(row[each["column"]]) if "low" in each else float(row[each["column"]] == each["category"]) for each in FEATURES]
            for row in rows]  # fmt: skip
    return np.array(told), np.array([float(row["days"]) for row in rows]), np.array([row["dead"] == "yes" for row in rows])


def pooled_stratified(held: Sequence[list[dict[str, str]]], ties: str = "efron") -> tuple[Floats, Floats]:
    """Weights and standard errors of the pooled rows, a stratum a region."""
    return survival.stratified([columns(rows) for rows in held], ties)


def pooled_on_grid(held: Sequence[list[dict[str, str]]], edges: Sequence[str] = EDGES) -> tuple[Floats, Floats]:
    """The same of the piecewise exponential model over all regions."""
    return survival.on_grid(*columns([row for rows in held for row in rows]), [float(each) for each in edges])
