"""Exact mode in a city of the tests: policies that permit it, and questions that are asked so."""

from collections.abc import Iterable, Sequence
from typing import Any

from protocols.contract import CONTRACT
from protocols.exact import NO_NOISE, as_exact, permission
from tests.support.charged import visits_of
from tests.support.city import City

EXACT: dict[str, Any] = {
    "purpose": "research",
    "programme": None,
    "floor": CONTRACT.exact_floor,
    "variances": (NO_NOISE,),
    "spec": as_exact(visits_of(("2026-10", "2026-11"))),
}
"""What differs in an exact question from the city's usual one."""


def permit(city: City, uris: Iterable[str] = (), tables: Sequence[str] = ("visits",)) -> None:
    """These hospitals (all, if none is named) state that they answer the tables in exact mode."""
    for uri in sorted(uris) or sorted(city.hospitals):
        hospital = city.hospitals[uri]
        stated = city.policy_of(hospital)
        city.log_entry(
            city.sign(stated.model_copy(update={"tables": (*stated.tables, *map(permission, tables))}), hospital.identity)
        )
