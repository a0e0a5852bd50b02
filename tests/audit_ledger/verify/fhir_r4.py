"""What FHIR R4 (4.0.1) demands of an AuditEvent, and IHE BALP 1.1.4 of its pattern Query, read from their StructureDefinitions.

`broken` names every demand that an event does not meet. Cardinalities, fixed values and closed value sets are checked; a profile's
slices are told by the value of `type`, as its discriminators say.
"""

import re
from collections.abc import Iterator
from typing import Any

HL7 = "http://terminology.hl7.org/CodeSystem"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
CLIENT, SERVER, USER = (DCM, "110153"), (DCM, "110152"), (f"{HL7}/v3-ParticipationType", "IRCP")
QUERY, REQUEST = (
    (f"{HL7}/audit-entity-type", "2"),
    ("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId"),
)
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
# Codes of the systems that R4 binds to the element; where a system is open to others, only its own codes are held to the list.
CODES = {
    f"{HL7}/audit-event-type": {"rest"},
    f"{HL7}/audit-entity-type": {"1", "2", "3", "4"},
    f"{HL7}/object-role": {str(n) for n in range(1, 25)},
    f"{HL7}/security-source-type": {str(n) for n in range(1, 10)},
    f"{HL7}/v3-ActReason": {"PUBHLTH", "HRESCH", "ETREAT"},
    "http://hl7.org/fhir/restful-interaction": {"search", "search-type", "search-system"},
    DCM: {"110106", "110113", "110152", "110153"},
    USER[0]: {USER[1]},
    REQUEST[0]: {REQUEST[1]},
}


def broken(event: dict[str, Any]) -> list[str]:
    """Of base R4, and of the profile that the event claims."""
    return [*_base(event), *(_query(event) if event.get("meta", {}).get("profile") else ())]


def _base(event: dict[str, Any]) -> Iterator[str]:
    if event.get("resourceType") != "AuditEvent":
        yield "resourceType"
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,64}", event.get("id", "")):
        yield "id"
    yield from _coding("type", event.get("type"))
    yield from (each for one in event.get("subtype", []) for each in _coding("subtype", one))
    if event.get("action", "E") not in set("CRUDE"):
        yield "action: audit-event-action"
    if event.get("outcome", "0") not in {"0", "4", "8", "12"}:
        yield "outcome: audit-event-outcome"
    if not re.fullmatch(INSTANT, event.get("recorded", "")):
        yield "recorded 1..1 instant"
    if not event.get("agent"):
        yield "agent 1..*"
    for agent in event.get("agent", []):
        yield from _agent(agent)
    source = event.get("source", {})
    yield from _reference("source.observer", source.get("observer"))
    yield from (each for one in source.get("type", []) for each in _coding("source.type", one))
    for entity in event.get("entity", []):
        yield from _entity(entity)


def _agent(agent: dict[str, Any]) -> Iterator[str]:
    if not isinstance(agent.get("requestor"), bool):
        yield "agent.requestor 1..1 boolean"
    if "who" in agent:
        yield from _reference("agent.who", agent["who"])
    concepts = [*([agent["type"]] if "type" in agent else []), *agent.get("purposeOfUse", [])]
    yield from (each for concept in concepts for one in concept.get("coding", [None]) for each in _coding("agent", one))
    if agent.get("network", {}).get("type", "1") not in {"1", "2", "3", "4", "5"}:
        yield "agent.network.type: network-type"


def _entity(entity: dict[str, Any]) -> Iterator[str]:
    if "name" in entity and "query" in entity:
        yield "sev-1: either a name or a query"
    for name in ("type", "role"):
        if name in entity:
            yield from _coding(f"entity.{name}", entity[name])
    if "what" in entity:
        yield from _reference("entity.what", entity["what"])
    if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", entity.get("query", "")):
        yield "entity.query base64Binary"
    for detail in entity.get("detail", []):
        if not (detail.get("type") and isinstance(detail.get("valueString"), str)):
            yield "entity.detail: type 1..1 and value 1..1"
        if not detail.get("valueString", "-"):
            yield "entity.detail.value: a string has at least one character"


def _coding(where: str, coding: Any) -> Iterator[str]:
    if not isinstance(coding, dict) or coding.get("code") not in CODES.get(coding.get("system", ""), set()):
        yield f"{where}: a code of its system"
    elif not coding.get("display"):
        yield f"{where}: a display"


def _reference(where: str, reference: Any) -> Iterator[str]:
    if not isinstance(reference, dict) or not (reference.get("reference") or reference.get("identifier", {}).get("value")):
        yield f"{where} 1..1: a reference or an identifier"


# -- BALP: Basic AuditEvent for a successful Query --------------------------------------------------------------------


def _query(event: dict[str, Any]) -> Iterator[str]:
    if _key(event.get("type", {})) != (f"{HL7}/audit-event-type", "rest"):
        yield "type: rest"
    if sum(_key(each)[0] == "http://hl7.org/fhir/restful-interaction" for each in event.get("subtype", [])) != 1:
        yield "subtype:anySearch 1..1"
    if (event.get("action"), event.get("outcome")) != ("E", "0"):
        yield "action E, outcome 1..1 0"
    agents = {key: [each for each in event.get("agent", []) if _of_concept(each) == key] for key in (CLIENT, SERVER, USER)}
    for key in (CLIENT, SERVER):
        if [("who" in each, "network" in each, "media" in each) for each in agents[key]] != [(True, True, False)]:
            yield f"agent {key[1]} 1..1: who and network, no media"
    for each in agents[USER]:
        if ("who" in each, each.get("requestor"), "network" in each, "media" in each) != (True, True, False, False):
            yield "agent:user: who, requestor true, no network, no media"
    if len(agents[USER]) > 1:
        yield "agent:user 0..1"
    yield from _slices(event.get("entity", []))


def _slices(entities: list[dict[str, Any]]) -> Iterator[str]:
    asked = [each for each in entities if _key(each.get("type", {})) == QUERY]
    if len(asked) != 1:
        yield "entity:query 1..1"
    for each in asked:
        if _key(each.get("role", {})) != (f"{HL7}/object-role", "24") or not each.get("query"):
            yield "entity:query: role 24 and query 1..1"
        if each.keys() & {"what", "lifecycle", "detail"}:
            yield "entity:query: no what, lifecycle or detail"
    requests = [each for each in entities if _key(each.get("type", {})) == REQUEST]
    if len(requests) > 1 or not all(each.get("what", {}).get("identifier", {}).get("value") for each in requests):
        yield "entity:transaction 0..1: the value of X-Request-Id"


def _key(coding: dict[str, Any]) -> tuple[str, str]:
    return coding.get("system", ""), coding.get("code", "")


def _of_concept(agent: dict[str, Any]) -> tuple[str, str]:
    return _key(next(iter(agent.get("type", {}).get("coding", [{}])), {}))
