"""A release made again from what it commits to: the members' masked vectors minus the sum that the auditor opened.

`DIR/<query>/<round>/<attempt>/` holds one `<hospital>.masked` for each member (`kapok-coordinator vectors`) and `sum`
(`kapok-audit vectors`), each the little-endian ring elements as they crossed the wire. Both parties keep them for 35 days; later
a release is "not re-derived", which is no finding. What is there must be what was signed: each vector hashes to its receipt, the
sum to its opening, and their difference to the release.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audit_ledger.findings import Finding, Rule
from audit_ledger.rules_opening import bound
from protocols.identity import Identity
from protocols.secagg.masks import MasksRemain, unmask, values_hash
from protocols.secagg.ring import dtype_of
from protocols.statements import Opening, Receipt, Release

SUM = "sum"
_ANY_REACH = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Committed:
    """One released question: its statements at their indexes."""

    opening: tuple[int, Opening]
    receipts: Mapping[str, tuple[int, Receipt]]
    release: tuple[int, Release]
    is_sum: bool = True
    """Not of residents: what was opened there are blinded cells, and the key that counts them would show the buckets."""


@dataclass(slots=True)
class Vectors:
    """A folder of vectors. Counts what it could make again, and names what it could not."""

    folder: Path
    rederived: int = 0
    gone: list[str] = field(default_factory=list)

    def findings(self, made: Committed) -> list[Finding]:
        """Where the vectors, the sum or the release are not what was signed; empty too where they are gone."""
        statement = made.release[1]
        files = self._files(made)
        # A training's release holds weights, which are no sum of its last round alone.
        if statement.round or files is None or not made.is_sum:
            self.gone.append(statement.query)
            return []
        found = list(_differing(made, files)) or list(_rederived(made, files))
        self.rederived += not found
        return found

    def _files(self, made: Committed) -> dict[str, bytes] | None:
        _, opening = made.opening
        folder = place(self.folder, opening.query, opening.first_round, opening.attempt)
        names = {each.uri: masked_name(each.uri) for each in bound(opening.preimage)[0].members} | {SUM: SUM}
        try:
            return {who: (folder / name).read_bytes() for who, name in names.items()}
        except FileNotFoundError:
            return None


def place(folder: Path, query: str, round_: int, attempt: int) -> Path:
    return folder / query / str(round_) / str(attempt)


def masked_name(uri: str) -> str:
    return f"{Identity.parse(uri).name}.masked"


def _differing(made: Committed, files: Mapping[str, bytes]) -> Iterator[Finding]:
    index, opening = made.opening
    if hashlib.sha256(files[SUM]).hexdigest() != opening.stream_sum:
        yield Finding(index, Rule.SUM_DIFFERS, "the sum that was handed over")
    for uri, (at, receipt) in made.receipts.items():
        if uri in files and hashlib.sha256(files[uri]).hexdigest() != receipt.masked:
            yield Finding(at, Rule.VECTOR_DIFFERS, uri)


def _rederived(made: Committed, files: Mapping[str, bytes]) -> Iterator[Finding]:
    binding, dtype = bound(made.opening[1].preimage)[0], dtype_of(bound(made.opening[1].preimage)[0].ring)
    index, release = made.release
    try:
        masked = {uri: np.frombuffer(raw, dtype) for uri, raw in files.items() if uri != SUM}
        values = unmask(masked, np.frombuffer(files[SUM], dtype), binding.ring, _ANY_REACH)
    except (MasksRemain, ValueError):  # signed as it is, but of another length
        yield Finding(index, Rule.NOT_THE_SUM, "vectors of different lengths")
        return
    if values_hash(values).hex() != release.values:
        yield Finding(index, Rule.NOT_THE_SUM, f"{len(masked)} vectors minus the opened sum")
