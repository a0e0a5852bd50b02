"""One import from start to swap: reads into the next generation, settles it, reports; on any error nothing has changed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from hospital_node.records.codes import CodeMap
from hospital_node.records.csv_import import CsvReader
from hospital_node.records.csv_mapping import CsvMapping
from hospital_node.records.errors import StoreFailed, UnreadableSource
from hospital_node.records.fhir import FhirReader, Progress
from hospital_node.records.generations import next_generation
from hospital_node.records.intake import Intake
from hospital_node.records.report import ImportReport, Tally
from hospital_node.records.residents import Residents, no_tag, require_key
from hospital_node.records.statements import Kind

SHANGHAI = ZoneInfo("Asia/Shanghai")


def _silent(_: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Ingest:
    """Where records go and how they are read; `today` is the hospital's calendar date, after which nothing can lie."""

    folder: Path
    today: date
    zone: ZoneInfo = SHANGHAI
    codes: CodeMap = field(default_factory=CodeMap.read)
    by_postal_code: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = _silent
    residents: Residents | None = None

    def fhir(self, files: Sequence[Path], resident_system: str | None = None) -> ImportReport:
        """Adds FHIR files to the records in force. `resident_system` names the identifiers that are resident numbers.

        Raises:
            UnreadableSource: a file cannot be read to its end, or nothing in them could be loaded.
            InvalidMapping: resident numbers are to be read, and there is no key for them.
            ImportRunning, StoreFailed: see `generations`.
        """

        residents = require_key(self.residents, "--resident-system") if resident_system else None

        def read(intake: Intake, tally: Tally) -> None:
            tag_of = residents.tag_of(tally) if residents else no_tag
            reader = FhirReader(intake, tally, self.by_postal_code, self.progress, (resident_system, tag_of))
            for file in files:
                reader.read(file)

        return self._run(read, tuple(Kind), residents)

    def csv(self, file: Path, mapping: CsvMapping) -> ImportReport:
        """Adds one CSV file to the records in force.

        Raises:
            UnreadableSource: the file is not there, cannot be read, or holds nothing that could be loaded.
            InvalidMapping: it lacks a column of the mapping, or there is no key for its resident numbers.
            ImportRunning, StoreFailed: see `generations`.
        """

        residents = require_key(self.residents, "patient.resident_number") if mapping.patient.resident_number else None

        def read(intake: Intake, tally: Tally) -> None:
            tag_of = residents.tag_of(tally) if residents else no_tag
            CsvReader(mapping, intake, tally, self.zone, dict(self.by_postal_code), self.progress, tag_of).read(file)

        # Patient and visit repeat on every line of a visit by the form of the file; only the finest rows can be repeated.
        has_events = mapping.diagnosis is not None or mapping.measurement
        return self._run(read, (Kind.CONDITION, Kind.MEASUREMENT) if has_events else (Kind.VISIT,), residents)

    def _run(self, read: Callable[[Intake, Tally], None], repeats: Sequence[Kind], residents: Residents | None) -> ImportReport:
        started, tally = time.monotonic(), Tally()
        with next_generation(self.folder) as building:
            with _database(building) as database:
                intake = Intake(database, tally, self.today, self.zone, repeats, residents.fingerprint if residents else None)
                read(intake, tally)
                tables, unmapped = intake.settle(self.codes)
            report = ImportReport(
                generation=building.stem,
                files=len(tally.files),
                read=dict(tally.read),
                not_used=dict(tally.not_used),
                tables=tables,
                skipped=tally.skipped(),
                unmapped=unmapped,
                encodings=tally.encodings,
                megabytes=round(tally.bytes_read / 1e6, 3),
                seconds=round(time.monotonic() - started, 3),
            )
            if not report.changed:
                raise NothingLoaded(report)
        return report


class NothingLoaded(UnreadableSource):
    """No record of the files could be loaded; the report says why, and the records in force stay."""

    code = "records.nothing"

    def __init__(self, report: ImportReport) -> None:
        super().__init__(f"{report.files} files read: no record could be loaded")
        self.report = report


def _database(path: Path) -> duckdb.DuckDBPyConnection:
    # Nothing reads this file before it is whole: a commit that writes the log first and the tables after would only write twice.
    spill = path.with_name(path.name + ".spill")  # staged records that outgrow memory go here, inside the folder, and are removed
    try:
        return duckdb.connect(
            path,
            config={"threads": 1, "wal_autocheckpoint": "1KB", "temp_directory": str(spill), "autoinstall_known_extensions": False},
        )
    except duckdb.Error as cause:
        raise StoreFailed(f"{path.name}: the database cannot be built ({type(cause).__name__})") from None
