"""Real nodes over the in-memory city: each hospital is an `Answering` with its own journal, records and policy.

A test walks one question through them a step at a time and may lie at any step. Clock and randomness are the test's.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pytest

from audit_ledger.follower import Follower
from audit_ledger.opener import OpenRequest, SealedSeed
from audit_ledger.opener_core import OpenerCore
from hospital_node.answering import Answering, Surroundings
from hospital_node.config import Config
from hospital_node.counting import InstalledPlans, Plans
from hospital_node.journal import Journal, StoredContribution
from hospital_node.offering import Reply
from hospital_node.policy import Policy, default_policy, peers_text, read_policy
from hospital_node.records.schema import DDL
from hospital_node.trace import Trace
from privacy.pricing import reach
from privacy.union import hospital_tail
from protocols import statements as st
from protocols.asked import Asked
from protocols.canonical import unb64
from protocols.clock import month, stamp, unix
from protocols.contract import CONTRACT, colluders
from protocols.identity import fingerprint
from protocols.query import QuerySpec
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding, Member
from protocols.secagg.ring import ring_bits
from tests.support.city import BUREAU, ORIGIN, City

PERIOD = {"from": "2026-10-01", "to": "2026-12-01"}
VISITS_BY_DISTRICT: dict[str, Any] = {
    "table": "visits",
    "measures": [{"kind": "count_distinct_person"}],
    "keys": [{"key": "district"}],
    "period": PERIOD,
}
DISTRICTS = ("440103", "440104", "440106")
Visit = tuple[int, date, str]
"""Patient, day, district."""


def write_records(folder: Path, visits: Iterable[Visit], generation: str = "g00000001") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{generation}.duckdb").write_bytes(_records(tuple(visits)))
    (folder / "CURRENT").write_text(generation + "\n")


@lru_cache(64)
def _records(rows: tuple[Visit, ...]) -> bytes:
    """The file of a database with these visits. Cities have the same hospitals again and again; DuckDB takes its time over each."""
    persons = [(person, f"p{person}", date(1980, 1, 1), "F", "440103") for person in sorted({row[0] for row in rows})]
    visits = [(n, person, f"v{n}", "AMB", day, day, district, "F", 46) for n, (person, day, district) in enumerate(rows)]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "records.duckdb"
        with duckdb.connect(file) as database:
            database.begin()
            database.execute(DDL)
            for table, values in (("person", persons), ("visit_occurrence", visits)):
                if values:
                    database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)
            database.commit()
        return file.read_bytes()


def some_visits(seed: int) -> list[Visit]:
    """A few dozen visits that differ by seed."""
    return [(n, date(2026, 10 + n % 2, 1 + (n * 7 + seed) % 28), DISTRICTS[(n + seed) % 3]) for n in range(20 + seed)]


@dataclass
class Node:
    """One hospital's node and the folder it lives in. `restart` is what a crash leaves: only the folder."""

    city: City
    uri: str
    home: Path
    plans: Plans | None = None
    random: Callable[[int], bytes] = os.urandom
    has_room: bool = True
    trace: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    answering: Answering = field(init=False)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if not (self.home / "policy.toml").exists():
            (self.home / "policy.toml").write_text(default_policy())
        if not (self.home / "peers.txt").exists():
            prints = [(fingerprint(each.identity.public), each.uri) for each in self.city.hospitals.values()]
            (self.home / "peers.txt").write_text(peers_text(prints))
        self.start()

    def start(self) -> None:
        config = Config(
            uri=self.uri,
            origin=ORIGIN,
            coordinator="kapok://coordinator/gz",
            link_address="127.0.0.1:1",
            slot_ms=200,
            grid_ms=25,
            legal_name="legal",
            licence="1",
        ).model_copy(update=self.settings)
        given = Surroundings(
            identity=self.city.hospitals[self.uri].identity,
            plans=self.plans or InstalledPlans(self.home / "records"),
            policy=self.policy(),
            clock=lambda: self.city.now,
            random=lambda size: self.random(size),
            has_room=lambda: self.has_room,
            trace=Trace(self.trace),
        )
        self.answering = Answering(config, Follower(self.city.trust), Journal(self.home / "journal.sqlite"), given)

    def policy(self) -> Policy:
        return read_policy(self.home)

    def stop(self) -> None:
        self.answering.preparing.close()
        self.answering.counts.close()
        self.answering.journal.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def bring(self) -> None:
        """Up to the newest cosigned checkpoint."""
        self.answering.follow(*self.city.follow(self.answering.follower.size))


@dataclass
class Nodes:
    """A city with a node in every hospital, and the auditor's opener."""

    path: Path
    n: int = 5
    furnish: Callable[[Path], None] = lambda home: None
    """Puts into a hospital's folder what is not in every one."""
    city: City = field(init=False)
    nodes: dict[str, Node] = field(init=False)
    opener: OpenerCore = field(init=False)

    def __post_init__(self) -> None:
        self.city = City(self.path / "city", self.n)
        self.nodes = {}
        for number, uri in enumerate(sorted(self.city.hospitals)):
            home = self.path / f"h{number}"
            write_records(home / "records", some_visits(number))
            self.furnish(home)
            self.nodes[uri] = Node(self.city, uri, home)
        self.opener = self.city.opener()

    def close(self) -> None:
        for node in self.nodes.values():
            node.stop()
        self.city.close()

    def first(self) -> Node:
        return self.nodes[min(self.nodes)]

    def ask(self, spec: dict[str, Any] | None = None, entry_fields: dict[str, Any] | None = None) -> "Asking":
        return Asking(self, self.query(spec, **(entry_fields or {})))

    def query(self, asked: dict[str, Any] | None = None, **changes: Any) -> bytes:
        """A signed query, not logged yet."""
        fields: dict[str, Any] = {
            **self.city.head(BUREAU),
            "nonce": secrets.token_hex(32),
            "purpose": "surveillance",
            "programme": self.city.programme,
            "audience": tuple(sorted(self.city.hospitals)),
            "floor": CONTRACT.floor,
            "valid_until": stamp(self.city.now + 86_400),
            "rounds": 1,
            "spec": QuerySpec.from_fields(asked or VISITS_BY_DISTRICT).to_json(),
            "variances": ("400.0000",),
        }
        return self.city.sign(st.Query(**{**fields, **changes}), self.city.bureau)

    def sealing(self) -> bytes:
        return self.opener.sealing(month(self.city.now), self.city.now).model_dump_json().encode()


@dataclass
class Asking:
    """One question on its way through the nodes."""

    world: Nodes
    entry: bytes
    proof: bytes = b""
    readys: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world.city.log_entry(self.entry)
        self.proof = self.world.city.prove(self.entry)

    @property
    def id(self) -> bytes:
        return st.parse(self.entry).id

    def rounds(self) -> tuple[int, int]:
        rounds = getattr(st.parse(self.entry).statement, "rounds", 1)
        return (1, rounds) if rounds > 1 else (0, 0)

    def offer(self, node: Node, **changes: Any) -> Reply:
        node.bring()
        first, last = self.rounds()
        given: dict[str, Any] = {"proof": self.proof, "sealing": self.world.sealing(), "first_round": first, "last_round": last}
        given = {**given, **changes}
        return node.answering.offer(given.pop("entry", self.entry), *given.values())

    def reasons(self, node: Node, **changes: Any) -> list[Reason]:
        return [each.reason for each in self.offer(node, **changes).refusals]

    def all_ready(self) -> None:
        """Every node answers with a Ready, and the ledger takes it."""
        for uri, node in self.world.nodes.items():
            reply = self.offer(node)
            if not reply.is_ready:
                raise AssertionError(f"{uri}: {reply.refusals}")
            node.answering.speculate(self.id.hex(), time.monotonic())
            self.log_ready(uri, reply.envelope)
        for node in self.world.nodes.values():
            node.bring()

    def log_ready(self, uri: str, envelope: bytes) -> None:
        self.readys[uri] = envelope
        self.world.city.log_entry(envelope)

    def binding(self, attempt: int = 1, round_input: bytes = b"", **changes: Any) -> Binding:
        statement = st.parse(self.entry).statement
        if not isinstance(statement, st.Query):
            raise TypeError("a query")
        asked, uris = Asked.of(statement), tuple(sorted(self.readys))
        readys = {uri: st.parse(self.readys[uri]) for uri in uris}
        members = tuple(Member(uri, unb64(_ready(signed).agreement.key), signed.id) for uri, signed in readys.items())
        n = len(uris)
        fields: dict[str, Any] = {
            "origin": ORIGIN,
            "query": self.id,
            "round": 0,
            "attempt": attempt,
            "input_hash": sha256(round_input).digest() if round_input else b"",
            "dimension": asked.masked_length(n, _slots(asked, n)),
            "ring": ring_bits(reach(n, n, colluders(n), asked.pieces)),
            "scale": asked.scale,
            "variances": asked.variances,
            "n": n,
            "c": colluders(n),
            "not_after": self.not_after(),
            "members": members,
            "counting": uris,
        }
        return Binding(**{**fields, **changes})

    def not_after(self) -> int:
        return unix(_ready(st.parse(next(iter(self.readys.values())))).not_after)

    def contribute(
        self, node: Node, binding: Binding, round_input: bytes = b"", patience_s: float = 30.0
    ) -> StoredContribution | list[Refusal]:
        """The member set, accepted and answered."""
        attempt = node.answering.accept(binding.encode(), round_input)
        return attempt if isinstance(attempt, list) else node.answering.contribute(attempt, patience_s)

    def request(self, binding: Binding, round_input: bytes = b"") -> tuple[OpenRequest, dict[str, np.ndarray[Any, Any]]]:
        """What the coordinator sends to the opener, and the masked vectors."""
        seeds, masked = [], {}
        for uri in sorted(self.readys):
            made = self.contribute(self.world.nodes[uri], binding, round_input)
            if isinstance(made, list):
                pytest.fail(f"{uri}: {made}")
            masked[uri] = np.frombuffer(made.masked, f"<u{binding.ring // 8}")
            hashed = sha256(made.masked).digest()
            seeds.append(SealedSeed(uri, made.sealed, hashed, receipt=made.receipt, round_signature=made.round_signature))
        first, last = self.rounds()
        return OpenRequest(binding.encode(), tuple(seeds), first, last), masked

    def open(self, request: OpenRequest) -> bytes:
        world = self.world
        world.city.bring(world.opener)
        reply = world.opener.open(request, world.city.now)
        if reply.refusals or reply.opening is None:
            raise AssertionError(f"refused: {reply.refusals}")
        world.city.log_entry(reply.opening)
        world.city.bring(world.opener)
        found = world.opener.release(reply.query, reply.round, world.city.now)
        if isinstance(found, list) or found is None:
            raise AssertionError(f"not released: {found}")
        return found


def _slots(asked: Asked, n: int) -> int:
    return hospital_tail(asked.pieces[0].variance, n, colluders(n)) if asked.is_of_residents else 0


def _ready(signed: st.Signed) -> st.Ready:
    if not isinstance(signed.statement, st.Ready):
        raise TypeError("a Ready")
    return signed.statement
