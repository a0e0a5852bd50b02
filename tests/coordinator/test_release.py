"""Unmasking: the coordinator takes no other sum than the one that the auditor's logged opening commits to."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from audit_ledger.errors import WitnessUnreachable
from coordinator.ledger import CityLedger
from coordinator.opening import OpeningRefused
from coordinator.register import Contributed
from coordinator.release import unmasked
from protocols import statements as st
from protocols.asked import Asked
from protocols.refusal import Reason
from tests.coordinator.support.asked import query as asked_query
from tests.support.city import City, Question


class NoWitness:
    def cosign(self, *_: object) -> bytes:
        raise WitnessUnreachable("nobody is asked here")


@dataclass
class Service:
    """An auditor's service that hands over these bytes."""

    total: bytes

    async def open(self, *_: object) -> bytes:
        return self.total


def test_a_sum_that_the_logged_opening_does_not_commit_to_releases_nothing(tmp_path: Path) -> None:
    city = City(tmp_path, now=int(time.time()))
    question = Question(city, city.opener())
    question.all_ready()
    request = question.request()
    total, binding = question.open(request), question.binding()
    made = [Contributed(s.uri, s.sealed, s.receipt, b"", question.masked[s.uri].tobytes()) for s in request.seeds]
    stated = st.parse(asked_query(city)).statement
    assert isinstance(stated, st.Query)
    asked = Asked.of(stated)
    ledger = CityLedger(city.log, NoWitness(), city.trust, lambda: city.now)

    def released(handed: bytes) -> list[int]:
        return list(map(int, asyncio.run(unmasked(Service(handed), ledger, asked, binding, made))))  # type: ignore[arg-type]

    assert released(total) == list(map(int, sum(question.exact.values())))
    other = np.frombuffer(total, np.uint32) + np.uint32(1)
    with pytest.raises(OpeningRefused) as refused:
        released(other.tobytes())
    assert [(each.reason, each.expected) for each in refused.value.refusals] == [
        (Reason.INCONSISTENT, "the sum that the logged opening commits to")
    ]
    city.close()
