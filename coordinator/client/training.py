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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from audit_ledger.bundle import verify_answer
from audit_ledger.errors import Malformed
from coordinator.client.city import DAY_S, City, Watcher
from coordinator.client.coverage import coverage_json, of_the_absent
from coordinator.client.desk import Step
from coordinator.client.errors import BadUsage, Unverified
from coordinator.client.export import mode_json
from coordinator.client.fits import Estimate, Result, read_result
from coordinator.client.fits.result import tested
from coordinator.client.wording import decimal
from privacy.errors import PrivacyError
from privacy.filter import encode_charge
from privacy.pricing import price as price_of
from privacy.rdp import LARGEST_RELEASE_VARIANCE, on_grid_up, skellam_rdp, skellam_variance_for
from privacy.subsampling import sampled_skellam_rdp, sampled_variance_for
from protocols.answer import Answer as Bundle
from protocols.asked import Asked, variance_text
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.exact import as_exact
from protocols.fit import SCALE, WEIGHT_UNITS, FitSpec, is_fit, unpacked
from protocols.fits import Fit, Floats, Training, of_fields
from protocols.query import QuerySpec
from protocols.statements import Query, Reasoned, parse

# Above it the variance of the scaled sums has more digits than a statement holds; no answer would be left of the noise anyway.
LARGEST_SD = 900_000
WIDEST = Fraction(LARGEST_RELEASE_VARIANCE)
"""The widest noise that hospitals have a table for."""
USUAL_ROUNDS = 6
EXACT_ROUNDS = 16
"""Newton's steps are short at first and doubly exact at last; a round costs no budget in exact mode."""
USUAL_SD = 16.0
USUAL_PRICE = "0.1"
"""Of a fit over a registered table: a quarter of what research may spend on its block; what the widest noise costs, if more."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A verified fit."""

    id: str
    spec: FitSpec | Fit
    rounds: int
    result: Result
    bundle: Bundle
    reasons: tuple[Reasoned, ...] = ()
    """Why hospitals are absent; see `coverage`."""

    @property
    def is_exact(self) -> bool:
        """Whether it is not private: no noise, no epsilon."""
        return not self.bundle.spending

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.id,
            "state": "released",
            **mode_json(self.is_exact),
            "spec": self.spec.to_json(),
            "rounds": self.rounds,
            **self.result.to_json(),
            **({} if self.is_exact else {"price": self.bundle.price}),
            **({} if self.is_exact else {"spending": [each.model_dump() for each in self.bundle.spending]}),
            "coverage": coverage_json(self.bundle.coverage, self.reasons),
        }


@dataclass(frozen=True, slots=True)
class FitFile:
    """A fit as a person wrote it. `exact` is how it is asked, where the file says so: no part of the fit itself."""

    spec: FitSpec | Fit
    exact: bool | None = None

    def is_exact(self, flag: bool) -> bool:
        """By the file or by `--exact`. Raises BadUsage where one says no to the other's yes."""
        if flag and self.exact is False:
            raise BadUsage("error.exact_twice")
        return flag or bool(self.exact)


def read_fit(path: Path) -> FitFile:
    """A fit over visits, or (with a `catalogue`) over a registered table. Raises BadUsage with the place of what is wrong."""
    try:
        text = path.read_text("utf-8-sig")
        data = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
        exact = data.pop("exact", None) if isinstance(data, dict) else None
        if not (exact is None or isinstance(exact, bool)):
            raise MalformedBytes("exact: expected true or false")
        if not isinstance(data, dict):
            raise MalformedBytes("expected an object with names")
        if "catalogue" in data:
            return FitFile(of_fields(data), exact)
        if data.get("fit", "logistic") != "logistic":
            raise BadUsage("error.fit_catalogue", path=path, kind=str(data["fit"])[:40])
        return FitFile(FitSpec.from_json({"version": 1, "fit": "logistic", "table": "visits", **data}), exact)
    except (OSError, ValueError, TypeError, MalformedBytes) as error:
        raise BadUsage("error.file", path=path, why=getattr(error, "strerror", None) or str(error)) from None


def fit_statement(
    city: City,
    spec: FitSpec | Fit,
    rounds: int | None = None,
    sd: float | None = None,
    price: str = "",
    *,
    exact: bool = False,
    hospitals: Sequence[str] = (),
) -> Query:
    """The question of a fit, for the auditor to approve, at this noise or at this price of all its rounds together.

    `exact`: without noise, and not private. `hospitals`: only these. Raises BadUsage where its price is beyond any budget, or
    fewer hospitals are asked than the floor.
    """
    usual = EXACT_ROUNDS if exact else USUAL_ROUNDS
    rounds = rounds or (usual if spec.allows(usual) else 1)
    if exact and (sd is not None or price):
        raise BadUsage("error.exact")
    if isinstance(spec, Fit) and spec.is_exact_only and not exact:
        raise BadUsage("error.exact_only", kind=spec.fit)
    variance = Fraction(0) if exact else _variance(spec, rounds, sd, price)
    now = city.now()
    catalog = city.catalog()
    audience = catalog.audience(hospitals)
    floor = max(catalog.floor(audience), CONTRACT.exact_floor if exact else 0)
    if len(audience) < floor:
        raise BadUsage("error.floor", n=len(audience), floor=floor)
    statement = Query(
        log=city.settings.origin,
        at=stamp(now),
        by=city.settings.uri,
        nonce=os.urandom(32).hex(),
        purpose="research",
        programme=None,
        audience=audience,
        floor=floor,
        valid_until=stamp(now + 7 * DAY_S),
        rounds=rounds,
        spec=as_exact(spec.to_json()) if exact else spec.to_json(),
        variances=(variance_text(variance),),
    )
    try:
        asked = Asked.of(statement)
        if exact:
            return statement
        cost = price_of(CONTRACT.order, asked.pieces, rounds).one
    except (MalformedBytes, PrivacyError) as error:
        raise BadUsage("error.file", path="--rounds, --sd", why=str(error)) from None
    limit = CONTRACT.limit("research")
    if cost > limit:
        # The price falls at least with the square of sd; rounded up, so that what is named does fit.
        fits = math.floor(math.sqrt(variance) / spec.scale * float(cost / limit) ** 0.5 * 10 + 1) / 10
        raise BadUsage("error.fit_price", cost=encode_charge(cost), limit=f"{float(limit):.4f}", sd=f"{fits:.1f}")
    return statement


def _variance(spec: FitSpec | Fit, rounds: int, sd: float | None, price: str) -> Fraction:
    """Of a round's whole numbers. Where nothing is stated, a fit over visits has `USUAL_SD`, others cost `USUAL_PRICE`."""
    if sd is not None and price:
        raise BadUsage("error.noise_twice")
    if sd is None and not price and isinstance(spec, FitSpec):
        sd = USUAL_SD
    if sd is not None:
        if not 0 < sd <= LARGEST_SD:  # false for NaN too
            raise BadUsage("error.fit_sd", sd=sd, most=f"{LARGEST_SD:,}")
        return on_grid_up((Fraction(str(sd)) * spec.scale) ** 2)
    whole = price_of_all(price)
    try:
        if isinstance(spec, Training):
            return _training_variance(spec, rounds, whole)
        least = skellam_rdp(CONTRACT.order, spec.l1, spec.l2_squared, WIDEST) * rounds
        if not price and whole < least:
            return WIDEST
        if whole < least:
            raise BadUsage("error.fit_least", price=price, least=decimal(least, 4))
        return skellam_variance_for(CONTRACT.order, whole / rounds, spec.l1, spec.l2_squared)
    except (PrivacyError, ValueError, ZeroDivisionError) as error:
        raise BadUsage("error.file", path="--price", why=str(error)) from None


def price_of_all(text: str) -> Fraction:
    """What was stated for all rounds together, or the usual. Raises BadUsage."""
    try:
        price = Fraction(text or USUAL_PRICE)
    except (ValueError, ZeroDivisionError):
        raise BadUsage("error.noise_range") from None
    if price <= 0:
        raise BadUsage("error.noise_range")
    return price


def _training_variance(spec: Training, rounds: int, price: Fraction) -> Fraction:
    """At which neither who is trained on pays more than the price for all rounds, nor who is held out for the last.

    Raises BadUsage where even the widest noise costs more: its table ends, so that what is summed has to be coarser.
    """
    steps = rounds * spec.steps_a_round
    least = sampled_skellam_rdp(CONTRACT.order, spec.rate, spec.l1, spec.l2_squared, WIDEST) * steps
    least = max(least, skellam_rdp(CONTRACT.order, *spec.once, WIDEST)) if spec.once else least
    if price < least:
        raise BadUsage("error.training_least", price=f"{float(price):g}", least=decimal(least, 4))
    always = sampled_variance_for(CONTRACT.order, price / steps, spec.rate, spec.l1, spec.l2_squared)
    return max(always, skellam_variance_for(CONTRACT.order, price, *spec.once)) if spec.once else always


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
    if problems or question is None or isinstance(question.spec, QuerySpec):
        raise Unverified("error.unverified", reasons=problems)
    reasons = of_the_absent(bundle.coverage, city.shelf.reasons(asked_id))
    return Fitted(asked_id, question.spec, question.query.rounds, _result(question.spec, bundle), bundle, reasons)


def received(city: City, id_: str, steps: Iterator[Step], watch: Watcher) -> Fitted:
    """Followed to its end, verified, and on the shelf. Raises NotGiven, and Unverified with the bytes kept as evidence."""
    raw = city.released(steps, id_, watch)
    try:
        found = fitted(raw, id_, city)
    except Unverified:
        city.shelf.keep_evidence(id_, raw)
        raise
    city.shelf.keep_answer(id_, raw)
    return found


def _result(spec: FitSpec | Fit, bundle: Bundle) -> Result:
    if isinstance(spec, FitSpec):
        return Result(_coefficients(spec, bundle), is_log=True)
    return read_result(spec, np.array(bundle.values, np.int64), Fraction(bundle.total_variances[0]), len(bundle.coverage.answered))


def _reason(code: str, expected: str, got: str = "") -> Reasoned:
    return Reasoned(code=code, expected=expected, got=got, subject="")


def _coefficients(spec: FitSpec, bundle: Bundle) -> tuple[Estimate, ...]:
    size = len(spec.columns)
    released = np.array(bundle.values, np.int64)
    _, hessian = unpacked(spec, released[size:])
    noise = float(Fraction(bundle.total_variances[0])) / SCALE**2
    inverse = np.linalg.pinv(hessian, hermitian=True)
    covariance = inverse @ (hessian + noise * np.eye(size)) @ inverse
    variances: Floats = np.diag(covariance)
    weights = released[:size] / WEIGHT_UNITS
    return tuple(tested(str(name), *each) for name, *each in zip(spec.columns, weights, variances, strict=True))
