"""An invented Guangzhou: residents, hospitals, seasons, one outbreak, and its records as FHIR or records databases."""

from simulations.city.city import City, Planted, build_city
from simulations.city.fhir_out import MALFORMED_LINES, write_fhir
from simulations.city.outbreak import Outbreak
from simulations.city.records_out import write_duckdb
from simulations.city.relocate import Relocation, UnreadableSource, relocate

__all__ = [
    "MALFORMED_LINES",
    "City",
    "Outbreak",
    "Planted",
    "Relocation",
    "UnreadableSource",
    "build_city",
    "relocate",
    "write_duckdb",
    "write_fhir",
]
