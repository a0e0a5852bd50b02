"""The attacks against a city of real programs: founded, asked by the bureau's own client, refused by the hospitals' own budgets."""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

import kapok
from coordinator.client.forecast import BySd
from kapok import City, NotGiven, Request
from protocols.answer import Answer
from protocols.query import QuerySpec
from simulations.attacks.asker import ExactAsker, Refused, Told
from simulations.attacks.attack import Outcome, attacks_of
from simulations.attacks.bucket import Bucket
from simulations.attacks.planted import write_records
from simulations.attacks.shown import NAMES
from simulations.processes import SLOT_MS, Services
from simulations.town import Tell, Town

YEAR = 2025


@dataclass(frozen=True, slots=True)
class CityAsker:
    """A bureau with a home and a key of its own, over the client that every bureau has."""

    city: City
    programme: str

    def __call__(self, spec: QuerySpec, variance: Fraction) -> Told:
        # Rounded down, so that its square rounds up to the same point of the grid again.
        sd = Fraction(math.isqrt(int(variance * 10**24)), 10**12)
        try:
            answer = self.city.ask(self.city.plan(Request(spec, BySd(sd), self.programme)))
        except NotGiven as no:
            raise Refused(sorted({each.code for each in no.reasons})) from None
        bundle = Answer.model_validate_json(self.city.shelf.answer(answer.id))
        return Told(np.array(bundle.values, dtype=np.int64), Fraction(bundle.total_variances[0]), Fraction(bundle.price))


def attack_a_city(out: Path, hospitals: int, tell: Tell) -> list[Outcome]:
    """Founds the city below `out`, leads every attack, and ends it. Raises CommandFailed where a program of the city fails."""
    attacks = attacks_of(YEAR)
    sources = {f"h{number:02d}": out / "records" / f"h{number:02d}" for number in range(1, hospitals + 1)}
    write_records([visit for attack in attacks for visit in attack.visits()], tuple(sources.values()))
    with Services(out / "logs") as services:
        town = Town(out / "city", sources, services, tell=tell, node_settings={"grid_ms": 25, "slot_ms": SLOT_MS})
        town.found()
        town.approve_programme("Attacks as experiments", ("visits",), "0.900000000")
        outcomes = []
        with kapok.connect(town.bureau) as city:
            for attack in attacks:
                tell(f"attack: {NAMES[attack.name][0]}", f"攻击：{NAMES[attack.name][1]}")
                outcomes.append(attack.run(CityAsker(city, town.programme), ExactAsker(tuple(sources.values()))))
    tell(
        "attack: one bucket (residents; some minutes of encryption, in a city of its own)",
        "攻击：居民单桶（按居民计数；需数分钟加密，在另一座城市中进行）",
    )
    return [*outcomes, Bucket(YEAR).run()]
