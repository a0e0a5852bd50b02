"""The city's records as FHIR R4, one folder of NDJSON a hospital: Patient, Encounter, Condition, Observation.

A hospital's folder speaks of its own patients only: someone seen at two hospitals is two Patients with nothing in common
but birth date, sex and district. Times are Guangzhou times with +08:00, so a night visit falls on another day in UTC. Each
file holds one line that is no resource (MALFORMED_LINES): an import has to count it and go on.
Resources of the standard: http://hl7.org/fhir/R4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from simulations.city.city import City
from simulations.city.residents import DISTRICTS, SEXES, Ints
from simulations.city.seasons import CODES
from simulations.city.visits import DAY_MINUTES, KINDS, VISIT_CLASSES

_ICD10: Final = "http://hl7.org/fhir/sid/icd-10"
_LOINC: Final = "http://loinc.org"
_UCUM: Final = "http://unitsofmeasure.org"
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"

# One a file; `%s` is a planted marker, so that an error that quotes the line is seen as the leak it is.
MALFORMED_LINES: Final = {
    "Patient": b'{"resourceType":"Patient","id":"%s","name":[{"family":',
    "Encounter": b"Encounter of %s could not be exported",
    "Condition": b'["Condition","%s"]',
    "Observation": b'{"resourceType":"Observation","id":"%s\xff\xfe"}',
}
_MALFORMED_AFTER: Final = 3

_GENDERS: Final = {"F": "female", "M": "male", "U": "unknown"}
_FAMILIES: Final = ("陈", "李", "黄", "张", "梁", "林", "刘", "何", "罗", "冼")
_GIVEN: Final = ("子晴", "伟强", "嘉欣", "志明", "美玲", "俊杰", "秀英", "文轩")

Resource = dict[str, Any]


def write_fhir(city: City, folder: Path) -> dict[str, Path]:
    """Writes `folder`/<hospital>/<Resource>.ndjson for every hospital; gives each hospital's folder by its name."""
    folders = {hospital.name: folder / hospital.name for hospital in city.hospitals}
    for index, hospital in enumerate(city.hospitals):
        records = _HospitalRecords(city, index)
        folders[hospital.name].mkdir(parents=True, exist_ok=True)
        for kind, resources in records.by_kind().items():
            _write_lines(folders[hospital.name] / f"{kind}.ndjson", kind, resources, city.planted.identifier)
    return folders


def _write_lines(path: Path, kind: str, resources: Iterator[Resource], marker: str) -> None:
    with path.open("wb") as file:
        file.writelines(_lines(islice(resources, _MALFORMED_AFTER)))
        file.write(MALFORMED_LINES[kind] % marker.encode() + b"\n")
        file.writelines(_lines(resources))


def _lines(resources: Iterable[Resource]) -> Iterator[bytes]:
    return (orjson.dumps(resource, option=orjson.OPT_APPEND_NEWLINE) for resource in resources)


class _HospitalRecords:
    """One hospital's part of the city, turned into resources row by row."""

    def __init__(self, city: City, index: int) -> None:
        self._city = city
        self._index = index
        self._patients = city.patients_of(index)
        self._rows = np.flatnonzero(city.hospital == index)
        number = np.searchsorted(self._patients, city.visits.resident[self._rows])
        self._patient_of_row = dict(zip(self._rows.tolist(), number.tolist(), strict=True))
        self._day_texts = np.datetime_as_string(city.new_year + np.arange(366 + 31)).tolist()

    def by_kind(self) -> dict[str, Iterator[Resource]]:
        return {
            "Patient": self._all_patients(),
            "Encounter": self._encounters(),
            "Condition": self._conditions(),
            "Observation": self._observations(),
        }

    def _all_patients(self) -> Iterator[Resource]:
        residents = self._city.residents
        district, sex = residents.district[self._patients].tolist(), residents.sex[self._patients].tolist()
        births = np.datetime_as_string(residents.birth[self._patients]).tolist()
        stated = residents.is_district_stated[self._patients].tolist()
        for number in range(len(self._patients)):
            yield self._patient(number) | {
                "gender": _GENDERS[SEXES[sex[number]]],
                "birthDate": births[number],
                "address": [self._address(district[number] if stated[number] else None)],
            }

    def _patient(self, number: int) -> Resource:
        planted = self._city.planted
        family, given = _FAMILIES[number % len(_FAMILIES)], _GIVEN[number % len(_GIVEN)]
        return {
            "resourceType": "Patient",
            "id": self._identifier("p", number),
            "identifier": [{"use": "usual", "value": f"{planted.record_number}-{self._index}-{number}"}],
            "name": [{"use": "official", "text": f"{family}{given} {planted.name}", "family": family, "given": [given]}],
            "telecom": [{"system": "phone", "value": f"{planted.telephone}-{number}"}],
        }

    def _address(self, district: int | None) -> Resource:
        """Every other hospital keeps the adcode, the rest the district's Chinese name."""
        place = {"use": "home", "country": "CN", "state": "广东省", "city": "广州市"}
        if district is None:
            return place | {"text": "广东省广州市"}
        adcode, name, _, _ = DISTRICTS[district]
        return place | {"district": adcode if self._index % 2 == 0 else name, "text": f"广东省广州市{name}"}

    def _encounters(self) -> Iterator[Resource]:
        visits = self._city.visits
        end = (visits.day + (visits.minute + visits.stay_minutes) // DAY_MINUTES)[self._rows].tolist()
        end_minute = ((visits.minute + visits.stay_minutes) % DAY_MINUTES)[self._rows].tolist()
        classes = visits.visit_class[self._rows].tolist()
        for place, row in enumerate(self._rows.tolist()):
            period = {"start": self._start(row), "end": self._time(end[place], end_minute[place])}
            yield {
                "resourceType": "Encounter",
                "id": self._identifier("e", row),
                "status": "finished",
                "class": {"system": f"{_TERMINOLOGY}/v3-ActCode", "code": VISIT_CLASSES[classes[place]]},
                "subject": self._subject(row),
                "period": period,
            }

    def _conditions(self) -> Iterator[Resource]:
        for number, row, index in self._here(self._city.diagnoses.visit, self._city.diagnoses.code):
            code, start = CODES[index], self._start(row)
            yield {
                "resourceType": "Condition",
                "id": self._identifier("c", number),
                "verificationStatus": _concept(f"{_TERMINOLOGY}/condition-ver-status", "confirmed"),
                "category": [_concept(f"{_TERMINOLOGY}/condition-category", "encounter-diagnosis")],
                "code": _concept(_ICD10, code.code, code.text),
                "subject": self._subject(row),
                "encounter": self._encounter(row),
                "onsetDateTime": start,
                "recordedDate": start,
            }

    def _observations(self) -> Iterator[Resource]:
        tenths = self._city.measurements.tenths
        for number, row, index in self._here(self._city.measurements.visit, self._city.measurements.kind):
            kind = KINDS[index]
            value = {"value": int(tenths[number]) / 10, "unit": kind.unit, "system": _UCUM, "code": kind.unit}
            yield {
                "resourceType": "Observation",
                "id": self._identifier("o", number),
                "status": "final",
                "category": [_concept(f"{_TERMINOLOGY}/observation-category", kind.category)],
                "code": _concept(_LOINC, kind.loinc, kind.text),
                "subject": self._subject(row),
                "encounter": self._encounter(row),
                "effectiveDateTime": self._start(row),
                "valueQuantity": value,
            }

    def _here(self, visit: Ints, index: Ints) -> Iterator[tuple[int, int, int]]:
        here = np.flatnonzero(self._city.hospital[visit] == self._index)
        return zip(here.tolist(), visit[here].tolist(), index[here].tolist(), strict=True)

    def _identifier(self, letter: str, number: int) -> str:
        return f"{self._city.planted.identifier}-{letter}{number}"

    def _subject(self, row: int) -> Resource:
        return {"reference": f"Patient/{self._identifier('p', self._patient_of_row[row])}"}

    def _encounter(self, row: int) -> Resource:
        return {"reference": f"Encounter/{self._identifier('e', row)}"}

    def _start(self, row: int) -> str:
        return self._time(int(self._city.visits.day[row]), int(self._city.visits.minute[row]))

    def _time(self, day: int, minute: int) -> str:
        return f"{self._day_texts[day]}T{minute // 60:02d}:{minute % 60:02d}:00+08:00"


def _concept(system: str, code: str, text: str | None = None) -> Resource:
    coding = {"system": system, "code": code}
    return {"coding": [coding]} if text is None else {"coding": [coding | {"display": text}], "text": text}
