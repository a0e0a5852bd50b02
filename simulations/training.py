"""The demo's model round: who is admitted as an inpatient, fitted over all hospitals by private Newton rounds.

Beside it stands the fit on the pooled records, which only a simulation can make.
"""

import json
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from audit_ledger.words import Words
from hospital_node.fits import newton_sums
from hospital_node.records.schema import open_read_only
from protocols.fit import FitSpec, unpacked
from simulations.processes import run
from simulations.town import Tell, Town

ROUNDS = 6
SD = 16


def train(town: Town, spec: FitSpec, tell: Tell, console: Console, spoken: Words) -> dict[str, Any]:
    """Asks for the fit, has the auditor approve it while it waits, and compares. Returns the summary row."""
    tell(
        "a researcher asks for a model; the auditor approves this one question; the rounds run",
        "研究人员请求训练模型；审计方批准这一问题；逐轮联合训练",
    )
    path = town.root / "fit.json"
    path.write_text(json.dumps(spec.to_json()))
    submitted = json.loads(run("kapok", "train", path, "--home", town.bureau, "--rounds", ROUNDS, "--sd", SD, "--detach", "--json"))
    run("kapok-audit", "approve", submitted["query"], "--home", town.auditor, "--until", town.until)
    fitted = json.loads(run("kapok", "resume", submitted["query"], "--home", town.bureau, "--json"))
    pooled = pooled_fit(town, spec)
    say = spoken.say
    heads = (say("feature", "特征"), say("private, all hospitals", "隐私保护，全部医院"), say("± standard error", "± 标准误"))
    table = Table(*heads, say("pooled (simulation only)", "汇总数据（仅模拟中可知）"))
    table.title = say(f"logistic regression: visit is {spec.outcome}", f"逻辑回归：就诊类别为 {spec.outcome}")
    for name, row, exact in zip(spec.columns, fitted["coefficients"], pooled, strict=True):
        table.add_row(str(name), f"{row['value']:.3f}", f"{row['standard_error']:.3f}", f"{exact:.3f}")
    console.print(table)
    return {
        "query": submitted["query"],
        "rounds": ROUNDS,
        "price": fitted["price"],
        "epsilon": float(fitted["spending"][0]["epsilon"]),
        "coefficients": [row["value"] for row in fitted["coefficients"]],
        "pooled": [float(each) for each in pooled],
    }


def pooled_fit(town: Town, spec: FitSpec, rounds: int = 25) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Newton on the exact (clipped) sums of all hospitals."""
    weights = np.zeros(len(spec.columns))
    connections = [open_read_only(town.node(name) / "records") for name in town.hospitals]
    try:
        for _ in range(rounds):
            total = np.sum([newton_sums(spec, each, weights) for each in connections], axis=0)
            gradient, hessian = unpacked(spec, total)
            # The ridge keeps a fit that the records do not determine (one class only, a constant column) where it is.
            step = np.linalg.solve(hessian + 1e-3 * np.eye(len(weights)), gradient)
            weights = weights + step * min(1.0, 2.0 / max(float(np.linalg.norm(step)), 1e-12))
    finally:
        for each in connections:
            each.close()
    return weights
