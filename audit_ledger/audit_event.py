"""FHIR R4 AuditEvent export: what other systems of the hospitals read; derived, the ledger's bytes stay the truth.

- A query is the pattern "Query" of IHE BALP without a patient (`rest`, `search`, action E): entities for the query (base64 of its
  signed spec, without a name), for its id as X-Request-Id, and one with the ledger's facts (index, leaf, checkpoint, price), since
  BALP allows no detail on the query's own entity. No event names a patient: one for each would tell who is in the records.
- A release is DICOM 110106 Export; a refusal DICOM 110113 Security Alert with outcome 4 (a party's no) or 8 (the auditor's).
"""

import json
from collections.abc import Iterator
from typing import Any

from audit_ledger.tree import leaf_hash
from audit_ledger.view import LedgerView, QuestionFacts
from protocols.canonical import b64, encode_json
from protocols.identity import Identity, Role

PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Query"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_TYPE, _OUTCOME = f"{_TERMINOLOGY}/audit-event-type", f"{_TERMINOLOGY}/audit-event-outcome"
_SOURCE, _ENTITY, _ROLE = f"{_TERMINOLOGY}/security-source-type", f"{_TERMINOLOGY}/audit-entity-type", f"{_TERMINOLOGY}/object-role"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_REASON = {
    "surveillance": ("PUBHLTH", "public health"),
    "research": ("HRESCH", "healthcare research"),
    "outbreak": ("ETREAT", "Emergency Treatment"),
}


def audit_events(view: LedgerView, since: str = "", until: str = "9999") -> Iterator[dict[str, Any]]:
    """One event for each query, release and refusal of the queries stated in [since, until)."""
    for id_, facts in view.questions.items():
        if not since <= facts.query.at < until:
            continue
        yield _query(view, id_, facts)
        for uri in sorted(facts.refusals):
            yield _refusal(view, id_, facts, uri)
        if facts.release is not None and facts.release[1].status == "released":
            yield _release(view, id_, facts)


def as_ndjson(events: Iterator[dict[str, Any]]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False, separators=(",", ":")) + "\n" for each in events)


def _query(view: LedgerView, id_: str, facts: QuestionFacts) -> dict[str, Any]:
    query = facts.query
    asked = {"type": _coding(_ENTITY, "2", "System Object"), "role": _coding(_ROLE, "24", "Query")}
    return {
        **_event(f"query-{facts.index}", view, query.at, _coding(_TYPE, "rest", "Restful Operation"), "E", "0"),
        "meta": {"profile": [PROFILE]},
        "subtype": [_coding("http://hl7.org/fhir/restful-interaction", "search", "search")],
        "agent": [*_machines(view, query.by), _asker(query.by, query.purpose)],
        "entity": [{**asked, "query": b64(encode_json(query.spec))}, _request(id_), _ledger(view, facts.index, _charged(facts))],
    }


def _charged(facts: QuestionFacts) -> dict[str, str]:
    """Leaf and price; the bytes of the query are at hand, those of later entries are named by index alone."""
    prices = sorted({each.statement.charge.price for each in facts.readys.values()})
    told = {"leaf": leaf_hash(facts.entry).hex(), "purpose": facts.query.purpose, "hospitals": str(len(facts.readys))}
    return {**told, **({"price": " ".join(prices)} if prices else {})}


def _release(view: LedgerView, id_: str, facts: QuestionFacts) -> dict[str, Any]:
    assert facts.release is not None
    index, release = facts.release
    more = {"answered": str(len(release.answered)), "values_sha256": release.values or ""}
    return {
        **_event(f"release-{index}", view, release.at, _coding(_DICOM, "110106", "Export"), "R", "0"),
        "agent": [_agent(release.by, "110153", "Source Role ID"), _asker(facts.query.by, facts.query.purpose)],
        "entity": [_request(id_), _ledger(view, index, more)],
    }


def _refusal(view: LedgerView, id_: str, facts: QuestionFacts, uri: str) -> dict[str, Any]:
    index, refused = facts.refusals[uri]
    outcome = "8" if Identity.parse(uri).role is Role.AUDITOR else "4"
    codes = ", ".join(sorted({each.code for each in refused.reasons}))
    return {
        **_event(f"refusal-{index}", view, refused.at, _coding(_DICOM, "110113", "Security Alert"), "E", outcome),
        "outcomeDesc": codes,
        "agent": [_agent(uri, "110152", "Destination Role ID"), _asker(facts.query.by, facts.query.purpose)],
        "entity": [_request(id_), _ledger(view, index, {})],
    }


def _event(id_: str, view: LedgerView, at: str, type_: dict[str, str], action: str, outcome: str) -> dict[str, Any]:
    coordinator = view.authority.root.coordinator if view.authority.root else ""
    return {
        "resourceType": "AuditEvent",
        "id": id_,
        "type": type_,
        "action": action,
        "recorded": at,
        "outcome": outcome,
        "source": {
            "site": view.authority.origin,
            "observer": _who(coordinator),
            "type": [_coding(_SOURCE, "4", "Application Server")],
        },
    }


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}


def _who(uri: str) -> dict[str, Any]:
    return {"identifier": {"system": "urn:ietf:rfc:3986", "value": uri}, "display": uri}


def _agent(uri: str, code: str, display: str) -> dict[str, Any]:
    return {
        "type": {"coding": [_coding(_DICOM, code, display)]},
        "who": _who(uri),
        "requestor": False,
        "network": {"address": uri, "type": "5"},
    }


def _machines(view: LedgerView, asker: str) -> list[dict[str, Any]]:
    coordinator = view.authority.root.coordinator if view.authority.root else ""
    return [_agent(asker, "110153", "Source Role ID"), _agent(coordinator, "110152", "Destination Role ID")]


def _asker(uri: str, purpose: str) -> dict[str, Any]:
    code, display = _REASON[purpose]
    recipient = _coding(f"{_TERMINOLOGY}/v3-ParticipationType", "IRCP", "information recipient")
    return {
        "type": {"coding": [recipient]},
        "who": _who(uri),
        "requestor": True,
        "purposeOfUse": [{"coding": [_coding(f"{_TERMINOLOGY}/v3-ActReason", code, display)]}],
    }


def _request(id_: str) -> dict[str, Any]:
    transaction = _coding("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId", "X-Request-Id")
    return {"what": {"identifier": {"value": id_}}, "type": transaction}


def _ledger(view: LedgerView, index: int, more: dict[str, str]) -> dict[str, Any]:
    told = {"index": str(index), "checkpoint": f"{view.size} {view.range.root().hex()}", **more}
    return {
        "what": {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"https://{view.authority.origin}"}},
        "type": _coding(_ENTITY, "4", "Other"),  # BALP tells a query's entities by their types: of 2 there is the query alone
        "role": _coding(_ROLE, "13", "Security Resource"),
        "detail": [{"type": name, "valueString": value} for name, value in told.items()],
    }
