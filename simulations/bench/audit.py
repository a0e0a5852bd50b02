"""How fast the whole ledger is audited, beside what the machine can hash and verify at all, in the same run.

The limits are plain loops on as many processes as the audit has: `hashlib` over every entry and every node of the tree, and
`cryptography` over every signature. Turns are interleaved, so that a busy machine disturbs both sides alike.
"""

import hashlib
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit_ledger.fetching import fetch_of
from audit_ledger.mirror import Mirror
from audit_ledger.tiles import CHECKPOINT_PATH, TileReader
from audit_ledger.verify import Audit, LedgerReport, verify_ledger
from protocols.identity import fingerprint
from protocols.statements import parse
from simulations.bench import gate_check
from simulations.bench.long_ledger import HOSPITALS, START, key, ledger_of, trust
from simulations.bench.rows import Row, load

FOLDER = Path("build/bench")
PROCESSES = 2
FULL, QUICK = 1_000_000, 50_000
NAMES = ("root", "approval", "service", "bureau", "coordinator", *HOSPITALS)
PART = 10_000
LATER = START + 86_400 * 60
"""When the audit is held: after a million entries at two questions a minute."""


def rows(is_quick: bool, tell: Callable[[str], None]) -> list[Row]:
    """Raises RuntimeError where the audit does not verify what was made to be valid."""
    wanted = QUICK if is_quick else FULL
    tell(f"writing a ledger of {wanted} entries")
    ledger = ledger_of(wanted, FOLDER, PROCESSES)
    size = int((ledger / CHECKPOINT_PATH).read_bytes().split(b"\n")[1])
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        tell("the limits: hashing and verifying in plain loops")
        hashing = _limit(pool, hash_part, ledger, size)
        signing = _limit(pool, verify_part, ledger, size)
    tell("hashes and tiles")
    hashed, _ = _audited(ledger, Audit(processes=PROCESSES, hashes_only=True))
    tell("every signature and rule")
    audited, report = _audited(ledger, Audit(processes=PROCESSES))
    memory = _peak_mb()
    tell("an incremental audit")
    first, again = _incremental(ledger)
    how = f"{report.size} entries, {PROCESSES} processes, wall time; {load()}"
    beside = {"hash": f"beside hashlib over leaves and nodes; {how}", "sign": f"beside Ed25519 verify of each signature; {how}"}
    both = f"peak of this process and of its largest child; {how}"
    whole = [
        Row.measured("audit: hashes and tiles, a million entries", "s", hashed, how, bar="<= 5"),
        Row.measured("audit: every signature and rule, a million entries", "s", audited, how, bar="<= 120"),
    ]
    return [
        gate_check.row(),
        *(whole if wanted == FULL else ()),
        Row.measured("audit: hashes and tiles", "s", hashed, beside["hash"], bar="<= 2.5", reference=hashing),
        Row.measured("audit: every signature and rule", "s", audited, beside["sign"], bar="<= 2.0", reference=signing),
        Row.measured("audit: memory", "MB", memory, both, bar="<= 500"),
        Row.measured("audit: again, nothing new, part of the first", "share", again / first, f"by the state; {how}", bar="<= 0.1"),
    ]


def _audited(ledger: Path, audit: Audit) -> tuple[float, LedgerReport]:
    started = time.perf_counter()
    report = verify_ledger(str(ledger), trust(), LATER, audit=audit)
    took = time.perf_counter() - started
    if not report.is_verified or report.verified_to != report.size:
        raise RuntimeError(f"the bench's own ledger is not verified: {report.broken or report.findings[:3]}")
    return took, report


def _incremental(ledger: Path) -> tuple[float, float]:
    with TemporaryDirectory(dir=FOLDER) as folder:
        audit = Audit(Mirror(Path(folder)), processes=PROCESSES)
        first, _ = _audited(ledger, audit)
        again, report = _audited(ledger, audit)
        if report.read_from != report.size:
            raise RuntimeError(f"an audit with nothing new read from entry {report.read_from}")
        return first, again


def _peak_mb() -> float:
    """What this process and its largest child ever held together."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + child) / 1024


def _limit(pool: ProcessPoolExecutor, work: Callable[[str, int, int, int], float], ledger: Path, size: int) -> float:
    """Wall seconds of the loops alone, were each process busy to the end: what is read is read before the clock starts."""
    parts: Sequence[int] = range(0, size, PART)
    spent = pool.map(work, *zip(*((str(ledger), size, at, min(at + PART, size)) for at in parts), strict=True))
    return sum(spent) / PROCESSES


def hash_part(ledger: str, size: int, first: int, last: int) -> float:
    entries = list(TileReader(fetch_of(ledger), size).read_entries(first, last))
    started = time.perf_counter()
    level = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]
    while len(level) > 1:
        level = [hashlib.sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
    return time.perf_counter() - started


def verify_part(ledger: str, size: int, first: int, last: int) -> float:
    keys = {fingerprint(key(name).public): Ed25519PublicKey.from_public_bytes(key(name).public) for name in NAMES}
    envelopes = [parse(entry).envelope for entry in TileReader(fetch_of(ledger), size).read_entries(first, last)]
    made = [(keys[each.keyid], each.value, envelope.pae()) for envelope in envelopes for each in envelope.signatures]
    started = time.perf_counter()
    for public, signature, message in made:
        public.verify(signature, message)
    return time.perf_counter() - started
