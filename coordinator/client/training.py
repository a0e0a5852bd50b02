"""A fit from the bureau's side: the signed question, its price, and the released weights with standard errors that count the noise.

The released integers are the final weights (units of 2^-20) and the last round's noisy sums; the covariance of the weights is
H^-1 (H + s^2 I) H^-1, with H the noisy Hessian and s the standard deviation of the noise on the gradient: sampling plus noise.
Contributions of patients with several visits in a month may be clipped (`protocols.fit`): that bias is not in it. Where nothing is
clipped, 95 % intervals hold the true coefficients 95 % of the time (the tests measure it).
"""

import json
import math
import os
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from audit_ledger.bundle import verify_answer
from audit_ledger.errors import Malformed
from coordinator.client.city import DAY_S, City
from coordinator.client.errors import BadUsage, Unverified
from privacy.errors import PrivacyError
from privacy.filter import encode_charge
from privacy.pricing import price
from privacy.rdp import on_grid_up
from protocols.answer import Answer as Bundle
from protocols.asked import Asked, variance_text
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.fit import SCALE, WEIGHT_UNITS, FitSpec, is_fit, unpacked
from protocols.statements import Query, Reasoned, parse

# Above it the variance of the scaled sums has more digits than a statement holds; no answer would be left of the noise anyway.
LARGEST_SD = 900_000


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One weight with its standard error, sampling and privacy noise together."""

    name: str
    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A verified fit."""

    id: str
    spec: FitSpec
    rounds: int
    coefficients: tuple[Coefficient, ...]
    bundle: Bundle

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.id,
            "state": "released",
            "spec": self.spec.to_json(),
            "rounds": self.rounds,
            "coefficients": [
                {"name": each.name, "value": each.value, "standard_error": each.standard_error} for each in self.coefficients
            ],
            "price": self.bundle.price,
            "spending": [each.model_dump() for each in self.bundle.spending],
            "coverage": self.bundle.coverage.model_dump(mode="json"),
        }


def read_fit(path: Path) -> FitSpec:
    """Raises BadUsage with the place of what is wrong."""
    try:
        text = path.read_text("utf-8-sig")
        data = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
        return FitSpec.from_json({"version": 1, "fit": "logistic", "table": "visits", **data})
    except (OSError, ValueError, TypeError, MalformedBytes) as error:
        raise BadUsage("error.file", path=path, why=getattr(error, "strerror", None) or str(error)) from None


def fit_statement(city: City, spec: FitSpec, rounds: int, sd: float) -> Query:
    """The question of a fit, for the auditor to approve. Raises BadUsage where its price is beyond any budget."""
    if not 0 < sd <= LARGEST_SD:  # false for NaN too
        raise BadUsage("error.file", path="--sd", why=f"0 < sd <= {LARGEST_SD:,}, not {sd}")
    now = city.now()
    catalog = city.catalog()
    audience = catalog.audience(())
    statement = Query(
        log=city.settings.origin,
        at=stamp(now),
        by=city.settings.uri,
        nonce=os.urandom(32).hex(),
        purpose="research",
        programme=None,
        audience=audience,
        floor=catalog.floor(audience),
        valid_until=stamp(now + 7 * DAY_S),
        rounds=rounds,
        spec=spec.to_json(),
        variances=(variance_text(on_grid_up((Fraction(str(sd)) * SCALE) ** 2)),),
    )
    try:
        asked = Asked.of(statement)
        cost = price(CONTRACT.order, asked.pieces, rounds).one
    except (MalformedBytes, PrivacyError) as error:
        raise BadUsage("error.file", path="--rounds, --sd", why=str(error)) from None
    limit = CONTRACT.limit("research")
    if cost > limit:
        # The price falls at least with the square of sd; rounded up, so that what is named does fit.
        fits = math.floor(sd * float(cost / limit) ** 0.5 * 10 + 1) / 10
        why = f"{encode_charge(cost)} > {float(limit):.4f}; --sd {fits:.1f} fits"
        raise BadUsage("error.file", path="--sd", why=why)
    return statement


def is_fit_question(envelope: bytes) -> bool:
    statement = parse(envelope).statement
    return isinstance(statement, Query) and is_fit(statement.spec)


def fitted(raw: bytes, asked_id: str, city: City) -> Fitted:
    """Verified before a number is read. Raises Unverified."""
    try:
        report = verify_answer(raw, city.trust, city.now())
        bundle = Bundle.model_validate_json(raw)
        signed = parse(bundle.query.entry.encode())
        question = Asked.of(signed.statement) if isinstance(signed.statement, Query) else None
    except (Malformed, MalformedBytes, ValidationError) as error:
        raise Unverified("error.unverified", reasons=[_reason("answer.malformed", type(error).__name__)]) from None
    problems = [_reason("answer.evidence", each.what, each.place) for each in report.problems]
    if signed.hex_id != asked_id:
        problems.append(_reason("answer.another_question", asked_id, signed.hex_id))
    if problems or question is None or not isinstance(question.spec, FitSpec):
        raise Unverified("error.unverified", reasons=problems)
    return Fitted(asked_id, question.spec, question.query.rounds, _coefficients(question.spec, bundle), bundle)


def _reason(code: str, expected: str, got: str = "") -> Reasoned:
    return Reasoned(code=code, expected=expected, got=got, subject="")


def _coefficients(spec: FitSpec, bundle: Bundle) -> tuple[Coefficient, ...]:
    size = len(spec.columns)
    released = np.array(bundle.values, np.int64)
    _, hessian = unpacked(spec, released[size:])
    noise = float(Fraction(bundle.total_variances[0])) / SCALE**2
    inverse = np.linalg.pinv(hessian, hermitian=True)
    covariance = inverse @ (hessian + noise * np.eye(size)) @ inverse
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    weights = released[:size] / WEIGHT_UNITS
    return tuple(Coefficient(str(name), float(w), float(e)) for name, w, e in zip(spec.columns, weights, errors, strict=True))
