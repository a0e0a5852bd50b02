"""A statement of every kind, a binding and the keys behind them, the same in every run. Fixed seeds are allowed here only."""

import hashlib
from typing import Any

from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import month, stamp, unix
from protocols.contract import colluders
from protocols.exact import as_exact
from protocols.identity import SigningKey
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding, Member
from protocols.secagg.sealing import SealingKey

ORIGIN = "ledger.kapok.test/2026"
NOW = unix("2026-11-23T08:00:00Z")
MONTH = month(NOW)
NOT_AFTER = NOW + 600
AUDITOR, COORDINATOR, BUREAU = "kapok://auditor/gz", "kapok://coordinator/gz", "kapok://bureau/cdc"
HOSPITALS = tuple(f"kapok://hospital/h{n:02d}" for n in range(1, 6))
SPEC: dict[str, Any] = {
    "version": 1,
    "table": "visits",
    "measures": [{"kind": "count", "hi": 1}],
    "keys": [{"key": "sex"}],
    "where": [],
    "period": {"from": "2026-11-01", "to": "2026-11-15"},
    "cells_per_patient": 4,
    "bound": "block",
}


def seed(name: str) -> bytes:
    return hashlib.sha256(b"kapok vectors " + name.encode()).digest()


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def signing(name: str) -> SigningKey:
    return SigningKey.from_seed(seed(name))


def agreement(uri: str) -> AgreementKey:
    return AgreementKey(seed("agreement " + uri), MONTH)


def sealing_key() -> SealingKey:
    return SealingKey.from_bytes(seed("sealing"), MONTH)


def binding(**changes: Any) -> Binding:
    members = tuple(Member(uri, agreement(uri).public, bytes.fromhex(digest("ready " + uri))) for uri in HOSPITALS)
    fields: dict[str, Any] = {
        "origin": ORIGIN,
        "query": bytes.fromhex(digest("query")),
        "round": 0,
        "attempt": 1,
        "input_hash": b"",
        "dimension": 4,
        "ring": 32,
        "scale": 1,
        "variances": (1600,),
        "n": 4,
        "c": colluders(4),
        "not_after": NOT_AFTER,
        "members": members,
        "counting": HOSPITALS[:4],
    }
    return Binding(**{**fields, **changes})


def head(by: str) -> dict[str, str]:
    return {"log": ORIGIN, "at": stamp(NOW), "by": by}


def query(**changes: Any) -> st.Query:
    fields: dict[str, Any] = {
        **head(BUREAU),
        "nonce": digest("nonce"),
        "purpose": "surveillance",
        "programme": digest("programme"),
        "audience": HOSPITALS,
        "floor": 4,
        "valid_until": stamp(NOW + 86_400),
        "rounds": 1,
        "spec": SPEC,
        "variances": ("100.0000",),
    }
    return st.Query(**{**fields, **changes})


def exact_query(**changes: Any) -> st.Query:
    asked: dict[str, Any] = {"purpose": "research", "programme": None, "floor": 5, "spec": as_exact(SPEC), "variances": ("0.0000",)}
    return query(**{**asked, **changes})


def exact_ready(uri: str = HOSPITALS[0]) -> st.Ready:
    """Charges nothing: the totals are those before it."""
    free = {"price": "0.000000000", "price_two": "0.000000000", "blocks": ("2026-11",), "totals": ("0.010000000",)}
    return ready(uri, charge=st.Charge(purpose="research", **free, totals_two=("0.040000000",)))


WEIGHTED = {
    "version": 1, "table": "visits", "measures": [{"kind": "count", "hi": 2}], "keys": [{"key": "district"}], "where": [],
    "period": {"from": "2026-09-01", "to": "2026-12-01"}, "cells_per_patient": 1, "bound": "block", "weights": [7, 24, 64],
}  # fmt: skip


def weighted_query() -> st.Query:
    return query(spec=WEIGHTED, variances=("6553600.0000",))


def weighted_ready(uri: str = HOSPITALS[0]) -> st.Ready:
    """Charges every month by its weight. A second implementation checks the prices (tests/protocols/test_vectors.py)."""
    prices, twice = ("0.000119629", "0.001406251", "0.010000002"), ("0.000478516", "0.005625001", "0.040000006")
    charge = st.ChargeByBlock(
        purpose="surveillance",
        price=prices[2],
        price_two=twice[2],
        blocks=("2026-09", "2026-10", "2026-11"),
        totals=prices,
        totals_two=twice,
        prices=prices,
        prices_two=twice,
    )
    return ready(uri, query=weighted_query().envelope().statement_id().hex(), sequence=1, charge=charge)


def ready(uri: str = HOSPITALS[0], **changes: Any) -> st.Ready:
    charge = st.Charge(
        purpose="surveillance",
        price="0.010000000",
        price_two="0.040000000",
        blocks=("2026-11", "static:patients"),
        totals=("0.010000000", "0.020000000"),
        totals_two=("0.040000000", "0.080000000"),
    )
    fields: dict[str, Any] = {
        **head(uri),
        "query": digest("query"),
        "first_round": 0,
        "last_round": 0,
        "sequence": 7,
        "not_after": stamp(NOT_AFTER),
        "agreement": agreement(uri).certificate(ORIGIN, uri, signing(uri)),
        "sealing": sealing_key().certificate(ORIGIN, signing("service")),
        "charge": charge,
        "seen": st.Seen(size=20, root=digest("root")),
    }
    return st.Ready(**{**fields, **changes})


def _of_authority() -> list[tuple[st.Statement, tuple[str, ...]]]:
    return [*_keys(), *_declared(), *_decisions()]


def _keys() -> list[tuple[st.Statement, tuple[str, ...]]]:
    uri = HOSPITALS[0]
    previous = st.PreviousLog(
        origin="ledger.kapok.test/2025", size=9, root=digest("last"), checkpoint="ledger.kapok.test/2025\n9\n"
    )
    root = st.Root(
        **head(COORDINATOR),
        auditor=AUDITOR,
        auditor_root=b64(signing("root").public),
        coordinator=COORDINATOR,
        coordinator_key=b64(signing("coordinator").public),
        previous=previous,
    )
    add = st.KeyAdd(
        **head(uri),
        action="add",
        subject=uri,
        use="identity",
        key=b64(signing(uri).public),
        licence=st.Licence(legal_name="广州市第一医院", number="12440100-1"),
        outbreak=False,
    )
    revoke = st.KeyRevoke(**head(AUDITOR), subject=uri, key=b64(signing(uri).public), reason="lost")
    return [(root, ("coordinator", "root")), (add, (uri, "approval")), (revoke, ("approval",))]


def _declared() -> list[tuple[st.Statement, tuple[str, ...]]]:
    uri = HOSPITALS[0]
    policy = st.Policy(
        **head(uri),
        policy_sha256=digest("policy"),
        order=8,
        limits={"surveillance": "0.874140000", "research": "0.437070000"},
        floor=4,
        purposes=("surveillance", "research"),
        tables=("visits",),
        peers=(digest("peer"),),
    )
    table = st.Table(name="visits", size_class=3, first_day="2020-01-01", last_day="2026-11-22", code_systems=("ICD-10",))
    dataset = st.Dataset(**head(uri), tables=(table,), freshness="daily", static_blocks=("static:patients",))
    age = st.DeclaredColumn(name="age", type="number", unit="years", low="20", high="80", categories=())
    sex = st.DeclaredColumn(name="sex", type="category", unit="", low="", high="", categories=("female", "male"))
    registration = st.Registration(
        **head(uri),
        table="heart",
        catalogue="heart-2026",
        title="heart disease",
        is_dated=False,
        size_class=20,
        first_day="-",
        last_day="-",
        columns=(age, sex),
    )
    programme = st.Programme(
        **head(BUREAU), title="ILI", purpose="surveillance", tables=("visits",), max_price="1.000000000", until=stamp(NOW + 9)
    )
    return [(policy, (uri,)), (registration, (uri,)), (dataset, (uri,)), (programme, ("bureau",))]


def _decisions() -> list[tuple[st.Statement, tuple[str, ...]]]:
    uri = HOSPITALS[0]
    return [
        (st.ApprovalRule(**head(AUDITOR), approvers={"research": 2}, outbreak_a_day=4, review_hours=72), ("root",)),
        (st.Approval(**head(AUDITOR), target=digest("query"), until=stamp(NOW + 9)), ("approval",)),
        (st.Revocation(**head(AUDITOR), target=digest("query"), reason="withdrawn"), ("approval",)),
        (st.Hold(**head(AUDITOR), is_held=True, reason="a look first"), ("approval",)),
        (st.Incident(**head(uri), query=digest("query"), code="node.incomplete"), (uri,)),
        (st.Review(**head(AUDITOR), target=digest("query"), verdict="in_order", note="seen"), ("approval",)),
        (st.Close(**head(COORDINATOR), next_origin="ledger.kapok.test/2027", next_vkey="k+1+A"), ("coordinator",)),
    ]


def _of_question() -> list[tuple[st.Statement, tuple[str, ...]]]:
    uri, q, u = HOSPITALS[0], digest("query"), binding().value.hex()
    reason = st.Reasoned(code="budget.exhausted", expected="0.010000000", got="0.000000000", subject="2026-11")
    hashes = {"binding": u, "sealed": digest("sealed"), "masked": digest("masked")}
    return [
        (query(), ("bureau",)),
        (st.Refused(**head(uri), query=q, reasons=(reason,)), (uri,)),
        (ready(), (uri,)),
        (st.Receipt(**head(uri), query=q, first_round=0, last_round=0, attempt=1, **hashes), (uri,)),
        (_opening(q), ("service",)),
        (_release(q, u), ("coordinator",)),
    ]


def _opening(asked: str) -> st.Opening:
    return st.Opening(
        **head(AUDITOR),
        query=asked,
        first_round=0,
        last_round=0,
        attempt=1,
        preimage=b64(binding().encode()),
        stream_sum=digest("sum"),
        seen=st.Seen(size=30, root=digest("later")),
    )


def _release(asked: str, bound: str) -> st.Release:
    return st.Release(
        **head(COORDINATOR),
        query=asked,
        round=0,
        attempt=1,
        status="released",
        binding=bound,
        values=digest("values"),
        answered=HOSPITALS[:4],
        refused=HOSPITALS[4:],
        away=(),
        left_out=(),
    )


def _of_model() -> list[tuple[st.Statement, tuple[str, ...]]]:
    """What is said of a trained model: its card, where a study made it, and what every fit says."""
    made: dict[str, Any] = {
        "query": digest("query"),
        "rounds": 8,
        "model_sha256": digest("model"),
        "epsilon": "1.5",
        "delta": "1e-06",
    }
    card = st.ModelCard(
        **head(COORDINATOR),
        **made,
        study="mlp",
        version="1.0",
        study_sha256=digest("study"),
        table="heart",
        catalogue="heart-1",
        answered=(HOSPITALS[0],),
        missing=1,
        price="0.200000000",
        held_out="0.2",
        metrics=(st.Metric(name="accuracy", value="0.810000", low="0.780000", high="0.840000"),),
    )
    return [(card, ("coordinator",)), (st.Model(**head(COORDINATOR), **made), ("coordinator",))]


def every_kind() -> list[tuple[st.Statement, tuple[str, ...]]]:
    """One of each, with the names of the keys that sign it."""
    return [*_of_authority(), *_of_question(), *_of_model()]
