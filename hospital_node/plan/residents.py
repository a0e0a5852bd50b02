"""Which buckets of a blind OR this hospital's residents fall into: the same plan and bounding as every count, then a bucket each.

Rules
- A patient falls into the buckets of the cells in which the plan counts it, once each, whatever the number of rows and blocks.
- The bucket comes from the resident's tag. A patient without a tag of the key in force gets one from the node's own bounding key:
  it is counted, and by this hospital for itself.
- Two patient numbers with one resident number are one resident.
- The vector says of each bucket of each cell 0 or 1: one patient's rows of a block move it by the question's L1 and L2 squared, and
  all records of one resident by one bucket a cell.
"""

from hashlib import sha256

import duckdb
import numpy as np

from hospital_node.plan.execute import bounded_tallies
from hospital_node.plan.packing import Int64s
from protocols.query import Layout, QuerySpec
from protocols.query.terms import Residents
from protocols.union import BucketKey
from protocols.union.resident import TAG_BYTES


def resident_buckets(
    spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes, key_print: str, buckets: BucketKey
) -> Int64s:
    """One entry a bucket, cell by cell. `key_print` is the fingerprint of the residents' key in force."""
    [segment], [measure] = Layout.of(spec).segments, spec.measures
    if not isinstance(measure, Residents):
        raise TypeError("buckets are filled by a question for residents")
    person, cell = _persons_in_cells(spec, connection, bounding_key)
    tags = _tags(connection, key_print, person, bounding_key)
    vector = np.zeros(segment.length * measure.buckets, dtype=np.int64)
    vector[cell * measure.buckets + buckets.buckets_of(tags, measure.buckets)] = 1
    return vector


def _persons_in_cells(spec: QuerySpec, connection: duckdb.DuckDBPyConnection, bounding_key: bytes) -> tuple[Int64s, Int64s]:
    tallies = (each[spec.measures[0].filter] for each in bounded_tallies(spec, connection, bounding_key))
    found = [(tally.packing.person_id(tally.keys), tally.packing.cell(tally.keys)) for tally in tallies]
    nothing = np.array([], dtype=np.int64)
    return np.concatenate([nothing, *(each[0] for each in found)]), np.concatenate([nothing, *(each[1] for each in found)])


def _tags(connection: duckdb.DuckDBPyConnection, key_print: str, person: Int64s, bounding_key: bytes) -> bytes:
    """The tag of each, in a row."""
    known = dict(connection.execute("SELECT person_id, tag FROM resident WHERE key_print = $key", {"key": key_print}).fetchall())
    of_each = {each: known.get(each) or _own_tag(each, bounding_key) for each in np.unique(person).tolist()}
    return b"".join(of_each[each] for each in person.tolist())


def _own_tag(person: int, bounding_key: bytes) -> bytes:
    return sha256(b"kapok own resident v1\0" + bounding_key + person.to_bytes(8, signed=True)).digest()[:TAG_BYTES]
