"""A bureau's home in a founded city, with a recorded desk to talk to, and the program run in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_ledger.bundle import verify_answer
from audit_ledger.opener_core import OpenerCore
from audit_ledger.party.home import Home
from coordinator.client.city import City as ClientCity
from coordinator.client.desk import Desk
from coordinator.client.main import run
from coordinator.client.settings import Settings
from protocols import statements as st
from protocols.contract import CONTRACT
from protocols.v1 import link_pb2
from tests.coordinator.client.support.desk import RecordedDesk, Served
from tests.coordinator.client.support.played import played
from tests.support.certificates import Authority
from tests.support.city import BUREAU, COORDINATOR, ORIGIN, City

QUESTION = "SELECT district, COUNT(*) FROM visits WHERE date >= DATE '2026-10-01' AND date < DATE '2026-12-01' GROUP BY district"


def catalog_of(city: City, spent: dict[str, Any] | None = None) -> dict[str, Any]:
    limits = {purpose: f"{float(CONTRACT.limit(purpose)):.9f}" for purpose in ("surveillance", "research", "outbreak")}
    policy = {"order": 8, "limits": limits, "floor": 4, "purposes": list(limits), "tables": ["visits", "diagnoses"]}
    table = {"name": "visits", "size_class": 5, "first_day": "2020-01-01", "last_day": "2026-11-22", "code_systems": ["ICD-10"]}
    programme = st.parse(city.log.entries(0, city.log.size)[-2]).statement
    assert isinstance(programme, st.Programme)
    return {
        "origin": ORIGIN,
        "size": city.log.size,
        "checkpoint": "",
        "hospitals": [
            {"uri": uri, "admitted": True, "connected": True, "tables": [table], "freshness": "daily", "policy": policy}
            for uri in city.hospitals
        ],
        "programmes": [
            {
                "id": city.programme,
                "title": "ILI",
                "purpose": "surveillance",
                "tables": ["visits"],
                "max_price": "1.000000000",
                "until": "2027-11-23T08:00:00Z",
                "by": BUREAU,
                "approved": True,
            }
        ],
        "spent": spent or {},
    }


@dataclass
class Bureau:
    """Runs `kapok` as its person does: `bureau("query", QUESTION)` is the exit code."""

    city: City
    home: Home
    served: Served
    opener: OpenerCore

    @property
    def desk(self) -> RecordedDesk:
        return self.served.desk

    def connect(self, _: Path | None = None) -> ClientCity:
        settings = Settings(BUREAU, ORIGIN, COORDINATOR, self.served.address)
        desk = Desk.connect(self.home, settings)
        return ClientCity(self.home, settings, desk, self.city.trust, verify_answer, lambda: self.city.now)

    def __call__(self, *args: str, lang: str = "en") -> int:
        return run([*args, "--home", str(self.home.path), "--lang", lang], {}, self.connect)

    def answers_in_life(self, change: Any = lambda answer: answer, reasons: Sequence[link_pb2.Reason] = ()) -> None:
        """From now on the desk answers each question with its whole life, the bundle changed as given.

        `reasons` are told beside it; the first is of the one hospital that refuses.
        """
        self.desk.asked = lambda envelope: self.life(envelope, change, reasons)

    def life(
        self, envelope: bytes, change: Any = lambda answer: answer, reasons: Sequence[link_pb2.Reason] = ()
    ) -> Sequence[link_pb2.Progress]:
        refusing = tuple(each.subject for each in reasons[:1])
        answer = change(played(self.city, self.opener, envelope, refusing)).model_dump_json().encode()
        id_ = st.parse(envelope).id
        states = [("submitted", 0), ("logged", 0), ("approved", 0), ("running", 2), ("running", 5)]
        frames = [link_pb2.Progress(query=id_, state=state, ready=ready, of=5 if ready else 0) for state, ready in states]
        return [*frames, link_pb2.Progress(query=id_, state="released", answer=answer, refusals=reasons, is_last=True)]


def make_bureau(path: Path) -> Bureau:
    city, authority = City(path / "city"), Authority()
    home = authority.equip(path / "bureau", BUREAU)
    home.write_secret("keys/identity.key", city.bureau.seed())
    home.write("trust.policy", city.trust.encode())
    desk = RecordedDesk(catalog=json.dumps(catalog_of(city)).encode())
    return Bureau(city, home, Served(authority.equip(path / "desk", COORDINATOR), desk), city.opener())
