"""Answers made by hand: a season of visits with known numbers, in a bundle whose proofs are empty. For rendering only."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from coordinator.client.checked import Verified
from coordinator.client.table import AnswerTable
from privacy.intervals import half_width
from protocols.answer import Answer, Coverage, Proven, Spending
from protocols.asked import variance_text
from protocols.exact import as_exact
from protocols.query import Layout, QuerySpec
from protocols.query.sql import parse_sql
from protocols.statements import Query

WEEKLY = """SELECT week, district, COUNT(*) FROM visits
WHERE date >= DATE '2026-01-05' AND date < DATE '2026-07-06' GROUP BY week, district"""
HOSPITALS = tuple(f"kapok://hospital/h{n:02d}" for n in range(1, 7))
NOTHING = Proven(entry="-", proof="-")


def query_of(spec: QuerySpec, variances: Sequence[Fraction] = (Fraction(100),)) -> Query:
    """In exact mode where there is no noise."""
    return Query(
        log="ledger.kapok.test/2026",
        at="2026-11-23T08:00:00Z",
        by="kapok://bureau/cdc",
        nonce="ab" * 32,
        purpose="surveillance",
        programme="cd" * 32,
        audience=HOSPITALS,
        floor=4,
        valid_until="2026-11-23T09:00:00Z",
        rounds=1,
        spec=spec.to_json() if any(variances) else as_exact(spec.to_json()),
        variances=tuple(map(variance_text, variances)),
    )


def hand_made(spec: QuerySpec, values: Sequence[int], variances: Sequence[Fraction]) -> Verified:
    """An answer with these integers, as if it had been verified."""
    spending = tuple(
        Spending(who=who, epsilon=epsilon, delta="1e-06") for who, epsilon in (("one_hospital", "0.31"), ("two_hospitals", "0.62"))
    )
    coverage = Coverage(answered=HOSPITALS[:4], refused=HOSPITALS[4:5], away=HOSPITALS[5:], left_out=(), incomplete=())
    bundle = Answer(
        query=NOTHING,
        keys=(),
        approvals=(),
        readys=(),
        opening=NOTHING,
        receipts=(),
        release=NOTHING,
        values=tuple(values),
        total_variances=tuple(map(variance_text, variances)),
        half_widths=tuple(half_width(each) for each in variances),
        price="0.018212500",
        spending=spending,
        coverage=coverage,
    )
    return Verified("3f" * 32, b"", bundle, query_of(spec, variances), spec, AnswerTable.of(spec, values, variances))


def season(variance: Fraction = Fraction(144)) -> Verified:
    """26 weeks by 11 districts with a wave in spring; the noise is drawn once and for all."""
    spec = parse_sql(WEEKLY)
    weeks, districts = spec.grid().shape
    noise = np.random.default_rng(7).normal(0, math.sqrt(variance), (weeks, districts)).round()
    wave = 40 + 160 * np.exp(-(((np.arange(weeks) - 10) / 4) ** 2))
    values = (wave[:, None] * np.linspace(0.2, 2.0, districts)[None, :] + noise).astype(int)
    return hand_made(spec, values.reshape(-1).tolist(), [variance])


def one_number(value: int, variance: Fraction = Fraction(16), **fields: Any) -> Verified:
    spec = QuerySpec.from_fields(
        {"table": "visits", "measures": [{"kind": "count"}], "period": {"from": "2026-01-01", "to": "2026-02-01"}, **fields}
    )
    assert Layout.of(spec).dimension == 1
    return hand_made(spec, [value], [variance])
