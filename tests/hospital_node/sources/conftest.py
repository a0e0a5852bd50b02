"""One PostgreSQL and one MariaDB for all tests of a worker, each with the same hospital in it."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.hospital_node.sources.hospital import ALL, DIAGNOSIS, MEASUREMENT, VISIT, inserts
from tests.support.databases import PASSWORD, Running, mariadb, postgresql

# pyspark (430 MB, built on the spot) is not in the locks: where IT has installed it, it is tested, elsewhere there is no such test.
collect_ignore = [] if find_spec("pyspark") else ["test_spark.py"]

_COLUMNS = {"visit": VISIT, "diagnosis": DIAGNOSIS, "lab result": MEASUREMENT, "patient": "patient_no, birth_date, sex, district"}
_POSTGRES = f"""
    CREATE SCHEMA his;
    CREATE TABLE his.visit (patient_no text, visit_no text, visit_time timestamptz, kind text, sex text, district text,
        birth_date date);
    CREATE TABLE his.diagnosis (patient_no text, diagnosis_no text, diagnosed_on date, icd text, sex text, district text, age text);
    CREATE TABLE his."lab result" (patient_no text, result_no text, measured_at timestamptz, item text, result text,
        sex text, district text, age text);
    CREATE TABLE his.patient (patient_no text, birth_date date, sex text, district text);
    CREATE ROLE kapok_reader LOGIN PASSWORD '{PASSWORD}';
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA his TO kapok_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA his TO kapok_reader;
    SET TIME ZONE 'UTC';
"""
_MARIADB = f"""
    CREATE DATABASE his CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
    USE his;
    CREATE TABLE visit (patient_no varchar(40), visit_no varchar(40), visit_time timestamp NULL, kind varchar(20), sex varchar(20),
        district varchar(40), birth_date date);
    CREATE TABLE diagnosis (patient_no varchar(40), diagnosis_no varchar(40), diagnosed_on date, icd varchar(40), sex varchar(20),
        district varchar(40), age varchar(20));
    CREATE TABLE `lab result` (patient_no varchar(40), result_no varchar(40), measured_at timestamp NULL, item varchar(40),
        result varchar(40), sex varchar(20), district varchar(40), age varchar(20));
    CREATE TABLE patient (patient_no varchar(40), birth_date date, sex varchar(20), district varchar(40));
    CREATE USER kapok_reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
    GRANT SELECT ON his.* TO kapok_reader@'127.0.0.1';
    SET time_zone = '+00:00';
"""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Running]:
    with postgresql() as server:
        filled = [f'INSERT INTO his."{name}" ({_COLUMNS[name]}) VALUES {inserts(rows)};' for name, rows in ALL.values()]
        server.run(_POSTGRES + "\n".join(filled))
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Running]:
    with mariadb() as server:
        filled = [f"INSERT INTO `{name}` ({_COLUMNS[name]}) VALUES {inserts(rows)};" for name, rows in ALL.values()]
        server.run(_MARIADB + "\n".join(filled))
        yield server
