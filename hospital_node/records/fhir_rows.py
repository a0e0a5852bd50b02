"""What is taken out of one FHIR R4 resource: ids, references, codes, dates and numbers; no name, no text, no address line.

Rules (element by element; anything else of the resource is never looked at)
- Patient: `birthDate`, `gender`, district of the first address that is not `old` and names one (`districts`); and of the
  identifiers the one whose system the import names as that of resident numbers, for its tag.
- Encounter: `class`, `period`; planned ones have not taken place, cancelled and entered-in-error ones are withdrawn.
- Condition: an ICD-10 coding before a SNOMED one before the first; `onsetDateTime`, else the start of `onsetPeriod`, else
  `recordedDate`; `verificationStatus` refuted or entered-in-error is withdrawn.
- Observation: a LOINC coding before the first; `effectiveDateTime`, else `effectivePeriod`, `effectiveInstant`, `issued`;
  `valueQuantity` or `valueInteger`; a value with a comparator (`<`) is not a value; each `component` is a row of its own.

The functions run once per resource of a bulk export and are written for it: plain dictionary reads, one tuple a row.
A resource of the wrong shape raises AttributeError, KeyError, TypeError or IndexError, which the reader counts as malformed.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hospital_node.records.codes import LOINC, SNOMED, is_icd10
from hospital_node.records.districts import adcode
from hospital_node.records.report import Reason
from hospital_node.records.residents import TagOf, no_tag
from hospital_node.records.statements import Kind, Row

Resource = dict[str, Any]
Extract = Callable[[Resource, int, list[Row]], None]

_WITHDRAWN = str(Reason.WITHDRAWN)
_SEX = {"female": "F", "male": "M", "other": "O"}
_CLASS = {"AMB": "AMB", "EMER": "EMER", "IMP": "IMP", "ACUTE": "IMP", "NONAC": "IMP"}
_ENCOUNTER_STOPS: dict[str | None, str] = {
    "entered-in-error": _WITHDRAWN,
    "cancelled": _WITHDRAWN,
    "planned": str(Reason.PLANNED),
}
_OBSERVATION_STOPS: dict[str | None, str] = {"entered-in-error": _WITHDRAWN, "cancelled": _WITHDRAWN}
_CONDITION_STOPS = frozenset({"refuted", "entered-in-error"})
_NOTHING: Resource = {}


def patient_extract(by_postal_code: Mapping[str, str], resident_system: str | None = None, tag_of: TagOf = no_tag) -> Extract:
    """The extraction of Patient, with the hospital's own map from postal codes to districts, and its tags of residents."""

    def patient(resource: Resource, place: int, rows: list[Row]) -> None:
        district = _district(resource.get("address", ()), by_postal_code)
        tag = tag_of(_identifier(resource, resident_system), place) if resident_system else None
        sex = _SEX.get(resource.get("gender", ""), "U")
        rows.append((place, resource.get("id"), resource.get("birthDate"), sex, district, tag))

    return patient


def _identifier(resource: Resource, system: str) -> str | None:
    """The first of this system that is not `old`. Raises TypeError for a value that is no text."""
    for each in resource.get("identifier", ()):
        if each.get("system") == system and each.get("use") != "old":
            value = each.get("value")
            if value is not None and not isinstance(value, str):
                raise TypeError("an identifier is a text")
            return value
    return None


def _district(addresses: list[Resource], by_postal_code: Mapping[str, str]) -> str | None:
    for address in addresses:
        if address.get("use") != "old":
            found = adcode(address.get("district"), address.get("postalCode"), by_postal_code)
            if found:
                return found
    return None


def encounter(resource: Resource, place: int, rows: list[Row]) -> None:
    get = resource.get
    period = get("period", _NOTHING)
    rows.append(
        (
            place,
            get("id"),
            get("subject", _NOTHING).get("reference"),
            None,
            period.get("start"),
            None,
            _ENCOUNTER_STOPS.get(get("status")),
            None,
            _CLASS.get(get("class", _NOTHING).get("code"), "OTHER"),
            period.get("end"),
        )
    )


def condition(resource: Resource, place: int, rows: list[Row]) -> None:
    get = resource.get
    coding = _diagnosis(get("code", _NOTHING).get("coding", ()))
    day = get("onsetDateTime") or get("onsetPeriod", _NOTHING).get("start") or get("recordedDate")
    rows.append(
        (
            place,
            get("id"),
            get("subject", _NOTHING).get("reference"),
            get("encounter", _NOTHING).get("reference"),
            day,
            None,
            _condition_stop(get("verificationStatus", _NOTHING)),
            None,
            coding.get("system"),
            coding.get("code"),
        )
    )


def _condition_stop(status: Resource) -> str | None:
    for coding in status.get("coding", ()):
        if coding.get("code") in _CONDITION_STOPS:
            return _WITHDRAWN
    return None


def _diagnosis(codings: list[Resource]) -> Resource:
    if len(codings) > 1:
        for wanted in (is_icd10, SNOMED.__eq__):
            for coding in codings:
                if wanted(coding.get("system")) is True:
                    return coding
    return codings[0] if codings else _NOTHING


def observation(resource: Resource, place: int, rows: list[Row]) -> None:
    get = resource.get
    day = get("effectiveDateTime") or get("effectivePeriod", _NOTHING).get("start") or get("effectiveInstant") or get("issued")
    event = (
        place,
        get("id"),
        get("subject", _NOTHING).get("reference"),
        get("encounter", _NOTHING).get("reference"),
        day,
        None,
        _OBSERVATION_STOPS.get(get("status")),
        None,
    )
    components = get("component")
    if components is None:
        rows.append(event + _result(resource))
        return
    has_value = "valueQuantity" in resource or "valueInteger" in resource
    parts = [resource, *components] if has_value else components
    rows.extend([event + _result(part) for part in parts])  # all or none: a component of the wrong shape spoils the panel


def _result(part: Resource) -> Row:
    """system, code, value, unit of an Observation or of one of its components."""
    codings = part["code"].get("coding")
    coding = codings[0] if codings else _NOTHING
    if coding.get("system") != LOINC and codings and len(codings) > 1:
        coding = next((one for one in codings if one.get("system") == LOINC), coding)
    quantity = part.get("valueQuantity")
    if quantity is None:
        value, unit = part.get("valueInteger"), None
    else:
        value = None if "comparator" in quantity else quantity.get("value")
        unit = quantity.get("code") or quantity.get("unit")
    if value is True or value is False:  # Arrow would take it for 1 or 0
        raise TypeError("a truth value is no measurement")
    return coding.get("system"), coding.get("code"), value, unit


EVENT_EXTRACTS: dict[str, tuple[Kind, Extract]] = {
    "Encounter": (Kind.VISIT, encounter),
    "Condition": (Kind.CONDITION, condition),
    "Observation": (Kind.MEASUREMENT, observation),
}
