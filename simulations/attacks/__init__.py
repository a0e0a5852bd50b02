"""Attacks on a city's answers, run as experiments: what a curious asker recovers, beside what (epsilon, delta) allows.

Every attack speaks to an `Asker` and nothing else, so that the same lines run against real programs on loopback
(`kapok-sim attacks`), against real nodes in one process (the tests), and against the bare records (the control, where an attack
must succeed).
"""

from simulations.attacks.asker import Asker, ExactAsker, Refused, Told
from simulations.attacks.attack import Attack, Outcome, Step, attacks_of

__all__ = ["Asker", "Attack", "ExactAsker", "Outcome", "Refused", "Step", "Told", "attacks_of"]
