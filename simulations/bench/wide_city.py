"""A city whose hospitals have a table of 99 columns, and the study of `wide_study`, installed and accepted as a researcher's is."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hospital_node.studies.hashing import package_hash
from protocols.fits import Training
from protocols.fits.training import Study
from simulations.bench.wide_study import FEATURES, WEIGHTS
from simulations.city import build_city, write_duckdb
from simulations.processes import Services, run
from simulations.town import Town

HOSPITALS, PATIENTS, SAMPLED = 8, 256, "0.125"
FINENESS = 128
TABLE = "wide"
MODULE = "simulations.bench.wide_study"


@contextmanager
def city(folder: Path, settings: Mapping[str, object], tell: Callable[[str], None]) -> Iterator[Town]:
    """Founded, its tables approved; `settings` are the nodes'."""
    tell(f"{HOSPITALS} hospitals of {PATIENTS} patients and {FEATURES} columns")
    records = write_duckdb(build_city(20250101, HOSPITALS, PATIENTS), folder / "records")
    with _installed(folder / "packages"), Services(folder / "logs") as services:
        town = Town(folder / "city", records, services, tell=lambda english, _: tell(english), node_settings=settings)
        town.found()
        for number, name in enumerate(town.hospitals):
            _register(town, name, number)
            run("kapok-node", "studies", "accept", "wide", "--home", town.node(name))
        town.await_hospitals(lambda each: TABLE in each["policy"].get("tables", ()))
        approved = 0
        while approved < len(town.hospitals):
            approved += len(town.approve_tables())
            time.sleep(0.3)
        yield town


@contextmanager
def _installed(folder: Path) -> Iterator[None]:
    """The study as a package of a researcher's: its entry point on the path of every process that is started from here."""
    info = folder / "kapok_bench_study-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kapok-bench-study\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kapok.studies]\nwide = {MODULE}:Wide\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _register(town: Town, name: str, number: int) -> None:
    draw, home = np.random.default_rng(number), town.node(name)
    columns = [f"f{place:02}" for place in range(FEATURES)]
    rows_ = np.round(draw.uniform(-1, 1, (PATIENTS, FEATURES)), 3)
    lines = [",".join([*(f"{cell:g}" for cell in row), "yes" if row[0] > 0 else "no"]) for row in rows_]
    table, schema = home / "wide.csv", home / "wide.toml"
    table.write_text("\n".join([",".join([*columns, "ill"]), *lines, ""]))
    stated = "".join(f'    {{name = "{each}", type = "number", low = "-1", high = "1"}},\n' for each in columns)
    ill = '    {name = "ill", type = "category", categories = ["yes", "no"]},\n'
    schema.write_text(f'catalogue = "{TABLE}-1"\ntitle = "wide"\ncolumn = [\n{stated}{ill}]\n')
    run("kapok-node", "tables", "add", TABLE, table, "--schema", schema, "--home", home)
    policy = home / "policy.toml"
    policy.write_text(policy.read_text().replace("\ntables = [", f'\ntables = ["{TABLE}", '))


def training() -> Training:
    """What a researcher would sign."""
    study = Study(name="wide", version="1.0", sha256=str(package_hash(MODULE)))
    columns = [{"column": f"f{place:02}", "low": "-1", "high": "1", "unit": ""} for place in range(FEATURES)]
    fields = {
        "study": study.model_dump(),
        "table": TABLE, "catalogue": f"{TABLE}-1", "outcome": {"column": "ill", "category": "yes"}, "features": columns,
        "weights": WEIGHTS, "longest": "1", "fineness": FINENESS, "sampled": SAMPLED, "step": "0.5",
        "batch": int(HOSPITALS * PATIENTS * float(SAMPLED)),
    }  # fmt: skip
    return Training.model_validate(fields, strict=False)
