"""A bureau's signed query over a test city, and the question as the coordinator holds it."""

import secrets
from typing import Any

from coordinator.admission import Admitted, admit
from protocols import statements as st
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.exact import as_exact, is_exact, without_mode
from protocols.fit import is_fit
from protocols.identity import Signer
from protocols.query import QuerySpec
from tests.support.city import BUREAU, City

VISITS: dict[str, Any] = {
    "table": "visits",
    "measures": [{"kind": "count_distinct_person"}],
    "keys": [{"key": "district"}],
    "period": {"from": "2026-10-01", "to": "2026-12-01"},
}


def query(city: City, signer: Signer | None = None, spec: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """`spec` as a person writes it, or in exact mode as it is signed."""
    plain = without_mode(spec or VISITS)
    asked = plain if is_fit(plain) else QuerySpec.from_fields(plain).to_json()
    fields: dict[str, Any] = {
        **city.head(BUREAU),
        "nonce": secrets.token_hex(32),
        "purpose": "surveillance",
        "programme": city.programme,
        "audience": tuple(sorted(city.hospitals)),
        "floor": CONTRACT.floor,
        "valid_until": stamp(city.now + 86_400),
        "rounds": 1,
        "spec": as_exact(asked) if is_exact(spec or {}) else asked,
        "variances": ("400.0000",),
    }
    return city.sign(st.Query(**{**fields, **changes}), signer or city.bureau)


def admitted(city: City, entry: bytes) -> Admitted:
    found = admit(entry, BUREAU, city.view(), city.now)
    assert isinstance(found, Admitted), found
    return found
