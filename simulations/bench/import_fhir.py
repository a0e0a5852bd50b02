"""How fast records come in: Bulk Data NDJSON to rows committed in DuckDB, beside `orjson.loads` over the same bytes.

Promise: at least 50 MB of uncompressed NDJSON a second on one core, and at most four times what parsing alone takes.
Both sides run in this process on one core, turn by turn; the figure is the median of the turns. The reference drops what it
parses, ours extracts, converts, joins, writes, fsyncs and swaps the generation.
"""

import random
import resource
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson

from hospital_node.records.importing import Ingest

_MEGABYTES = 50
_TURNS = 5
_SNOMED = ("444814009", "195662009", "10509002", "38341003", "233604007")
_LOINC = (("8310-5", "Cel", 37), ("8302-2", "cm", 165), ("718-7", "g/dL", 13), ("2093-3", "mg/dL", 180))
_START = datetime(2024, 1, 1, tzinfo=UTC)


def rows() -> list[dict[str, object]]:
    """Two rows of the benchmark table: megabytes a second (absolute bar), and time beside parsing alone."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export.ndjson"
        file.write_bytes(b"".join(_export(random.Random(20240501), _MEGABYTES * 1_000_000)))
        size = file.stat().st_size / 1e6
        ours, reference = [], []
        for turn in range(_TURNS):
            ours.append(_import_seconds(file, Path(folder) / f"records{turn}"))
            reference.append(_parse_seconds(file))
    fast, parse = statistics.median(ours), statistics.median(reference)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, reference, strict=True))
    how = f"{size:.0f} MB of synthetic records; processor time, one thread; median of {_TURNS} interleaved turns"
    return [
        _row("fhir import, committed", "MB/s", size / fast, None, None, ">= 50", size / fast >= 50, how),
        _row("fhir import beside orjson.loads", "s", fast, parse, ratio, "<= 4.0", ratio <= 4, how),
    ]


def _row(
    name: str, unit: str, ours: float, reference: float | None, ratio: float | None, bar: str, ok: bool, how: str
) -> dict[str, object]:
    return {
        "name": name,
        "unit": unit,
        "ours": round(ours, 3),
        "reference": None if reference is None else round(reference, 3),
        "ratio": None if ratio is None else round(ratio, 2),
        "bar": bar,
        "ok": ok,
        "how": how,
    }


def _import_seconds(file: Path, folder: Path) -> float:
    """Processor time of the whole process: a second core cannot help, and a busy machine disturbs both sides alike."""
    started = _processor_seconds()
    Ingest(folder, date(2026, 1, 1)).fhir([file])
    return _processor_seconds() - started


def _parse_seconds(file: Path) -> float:
    started = _processor_seconds()
    with file.open("rb") as lines:
        for line in lines:
            orjson.loads(line)
    return _processor_seconds() - started


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _export(rng: random.Random, size: int) -> Iterator[bytes]:
    """One patient after another with visits, diagnoses and measurements, until `size` bytes are written."""
    written = patient = 0
    while written < size:
        patient += 1
        for resource_ in _patient(rng, patient):
            line = orjson.dumps(resource_) + b"\n"
            written += len(line)
            yield line


def _patient(rng: random.Random, number: int) -> Iterator[dict[str, object]]:
    name = _uuid(rng)
    yield {
        "resourceType": "Patient",
        "id": name,
        "identifier": [{"system": "urn:oid:1.2.3", "value": f"MR{number:09d}"}],
        "name": [{"use": "official", "family": "合成", "given": [f"{number}"]}],
        "gender": rng.choice(("female", "male")),
        "birthDate": date(rng.randrange(1930, 2020), rng.randrange(1, 13), rng.randrange(1, 29)).isoformat(),
        "address": [{"district": rng.choice(("440104", "天河区", "Haizhu")), "city": "广州市", "line": [f"{number} 号"]}],
        "meta": {"tag": [{"system": "urn:kapok:synthetic", "code": "bench"}]},
    }
    for _ in range(rng.randrange(4, 9)):
        yield from _visit(rng, {"reference": f"Patient/{name}"})


def _visit(rng: random.Random, subject: dict[str, str]) -> Iterator[dict[str, object]]:
    visit, start = _uuid(rng), _START + timedelta(minutes=rng.randrange(500_000))
    encounter, day = {"reference": f"Encounter/{visit}"}, start.isoformat()
    yield {
        "resourceType": "Encounter",
        "id": visit,
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": rng.choice(("AMB", "AMB", "EMER", "IMP"))},
        "type": [{"coding": [{"system": "http://snomed.info/sct", "code": "185345009", "display": "Encounter for symptom"}]}],
        "subject": subject,
        "period": {"start": day, "end": (start + timedelta(minutes=40)).isoformat()},
        "serviceProvider": {"reference": f"Organization/{_uuid(rng)}"},
    }
    yield {
        "resourceType": "Condition",
        "id": _uuid(rng),
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        "verificationStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]
        },
        "code": {
            "coding": [{"system": "http://snomed.info/sct", "code": rng.choice(_SNOMED), "display": "A diagnosis (disorder)"}]
        },
        "subject": subject,
        "encounter": encounter,
        "onsetDateTime": day,
        "recordedDate": day,
    }
    for _ in range(rng.randrange(2, 7)):
        yield _observation(rng, subject, encounter, day)


def _observation(rng: random.Random, subject: dict[str, str], encounter: dict[str, str], day: str) -> dict[str, object]:
    loinc, unit, middle = rng.choice(_LOINC)
    category = {
        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
        "code": "vital-signs",
        "display": "vital-signs",
    }
    return {
        "resourceType": "Observation",
        "id": _uuid(rng),
        "status": "final",
        "category": [{"coding": [category]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc, "display": "A vital sign"}], "text": "A vital sign"},
        "subject": subject,
        "encounter": encounter,
        "effectiveDateTime": day,
        "issued": day,
        "valueQuantity": {
            "value": middle * rng.uniform(0.9, 1.1),
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
        "meta": {"tag": [{"system": "urn:kapok:synthetic", "code": "bench"}]},
    }


def _uuid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
