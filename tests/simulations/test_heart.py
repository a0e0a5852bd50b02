"""Four real hospitals' heart patients, registered as they were published, asked by the bureau's program through real processes.

The table has no dates: one `static` block pays. What was published of the pooled rows is in the tests.
"""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from simulations.processes import Services, run
from simulations.town import Town
from tests.hospital_node.support.nodes import some_visits, write_records

DATA = Path(__file__).parents[3] / "shared" / "data" / "uci_heart"
if not DATA.exists():
    DATA = Path(__file__).parents[4] / "shared" / "data" / "uci_heart"
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
NAMES = "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,slope,ca,thal,num"
SCHEMA = """
catalogue = "heart-2026"
title = "UCI heart disease"
column = [
    {name = "age", type = "number", low = "20", high = "80", unit = "years"},
    {name = "sex", source = "gender", type = "category", categories = ["female", "male"]},
    {name = "thalach", type = "number", low = "60", high = "210", unit = "bpm", missing = ["?"]},
    {name = "sick", type = "category", categories = ["yes", "no"]},
]
"""
AGE = {"column": "age", "low": "20", "high": "80", "unit": "years"}
MALE = {"column": "sex", "category": "male"}
THALACH = {"column": "thalach", "low": "60", "high": "210", "unit": "bpm"}
HEAD = {"table": "heart", "catalogue": "heart-2026"}
FITS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "linear": ({"fit": "linear", **HEAD, "outcome": THALACH, "features": [AGE, MALE]}, ("--price", "0.2")),
    "logistic": ({"fit": "logistic", **HEAD, "outcome": {"column": "sick", "category": "yes"}, "features": [AGE, MALE]},
                 ("--price", "0.2", "--rounds", "4")),
}  # fmt: skip
Floats = npt.NDArray[np.float64]


def _file(hospital: str, path: Path) -> Path:
    """The published rows with a header; sex (written 1 or 1.0) as a word, the classes of disease as one."""
    lines = [line.split(",") for line in (DATA / f"processed.{hospital}.data").read_text().split()]
    words = (["male" if float(cells[1]) else "female", "yes" if float(cells[-1]) else "no"] for cells in lines)
    text = [f"{NAMES},gender,sick", *(",".join([*cells, *word]) for cells, word in zip(lines, words, strict=True))]
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    if not DATA.exists():
        pytest.skip("the published heart data are not beside the repository")
    root = tmp_path_factory.mktemp("heart")
    sources = {f"h{n:02d}": root / "sources" / name for n, name in enumerate(HOSPITALS, start=1)}
    for n, folder in enumerate(sources.values()):
        write_records(folder, some_visits(n))
    with Services(root / "logs") as services:
        made = Town(root / "town", sources, services, node_settings={"slot_ms": 1500, "grid_ms": 25})
        made.found()
        for (name, folder), schema in zip(sources.items(), [SCHEMA] * 4, strict=True):
            _register(made, name, _file(folder.name, root / f"{name}.csv"), schema)
        made.await_hospitals(lambda each: "heart" in each["policy"]["tables"])
        tables = made.approve_tables()
        assert [(each["table"], each["block"]) for each in tables] == 4 * [("heart", "static:heart-2026")]
        yield made
    shutil.rmtree(root, ignore_errors=True)


def _register(town: Town, name: str, file: Path, schema: str) -> None:
    home = town.node(name)
    (home / "heart.toml").write_text(schema)
    run("kapok-node", "tables", "add", "heart", file, "--schema", home / "heart.toml", "--home", home)
    policy = (home / "policy.toml").read_text()
    (home / "policy.toml").write_text(policy.replace("\ntables = [", '\ntables = ["heart", '))


def _fitted(town: Town, kind: str) -> dict[str, Any]:
    fields, options = FITS[kind]
    path = town.root / f"{kind}.json"
    path.write_text(json.dumps(fields))
    asked = json.loads(run("kapok", "train", path, "--home", town.bureau, *options, "--detach", "--json"))
    run("kapok-audit", "approve", asked["query"], "--home", town.auditor, "--until", town.until)
    told: dict[str, Any] = json.loads(run("kapok", "resume", asked["query"], "--home", town.bureau, "--json"))
    return told


def _pooled(columns: tuple[int, ...]) -> Floats:
    """Complete rows of all four hospitals."""
    rows = [line.split(",") for name in HOSPITALS for line in (DATA / f"processed.{name}.data").read_text().split()]
    return np.array([[float(row[n]) for n in columns] for row in rows if "?" not in [row[n] for n in columns]])


def _holds(told: dict[str, Any], reference: list[float]) -> None:
    """Within five stated standard errors, which count noise and sampling: a false alarm below 1e-6 each."""
    for each, expected in zip(told["coefficients"], reference, strict=True):
        assert abs(each["value"] - expected) < 5 * each["standard_error"], (each["name"], each["value"], expected)
        assert math.isfinite(each["standard_error"])


@pytest.mark.wire
@pytest.mark.xdist_group("heart")
def test_least_squares_of_one_round(town: Town) -> None:
    """Published pooled fit of thalach on age and sex: 865 rows, 198.249, -0.99165, -10.2982."""
    held = _pooled((7, 0, 1))
    x = np.column_stack([np.ones(len(held)), held[:, 1:]])
    assert len(held) == 865
    assert np.linalg.lstsq(x, held[:, 0], rcond=None)[0].tolist() == pytest.approx([198.249, -0.99165, -10.2982], rel=1e-4)
    told = _fitted(town, "linear")
    assert [each["name"] for each in told["coefficients"]] == ["intercept", "age", "sex=male"]
    assert (told["rounds"], len(told["coverage"]["answered"])) == (1, 4)
    _holds(told, [198.249, -0.99165, -10.2982])


@pytest.mark.wire
@pytest.mark.xdist_group("heart")
def test_logistic_by_rounds_and_the_ledger_verifies(town: Town) -> None:
    """Published pooled fit of disease on age and sex, all 920 rows: -4.6512, 0.06672, 1.6494."""
    told = _fitted(town, "logistic")
    assert told["rounds"] == 4
    _holds(told, [-4.6512, 0.06672, 1.6494])
    run("kapok-audit", "verify", town.ledger, "--trust", town.trust)
    budget = json.loads(run("kapok-node", "budget", "--home", town.node("h01"), "--json"))
    assert [row["block"] for row in budget] == ["static:heart-2026"]
