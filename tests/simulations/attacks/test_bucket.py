"""A hospital and a coordinator that test one resident's bucket: the auditor's noise is all that stands before them, and it does."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from audit_ledger import zero_test
from audit_ledger.words import words
from simulations.attacks import shown
from simulations.attacks.attack import LIMIT
from simulations.attacks.bucket import Bucket

pytestmark = pytest.mark.statistical
YEAR = 2025


def test_the_bucket_of_one_resident_is_read_from_a_sum_and_not_from_a_zero_test() -> None:
    """22 residents, each guessed right with a chance of 0.586: all of them once in 130,000 runs."""
    found = Bucket(YEAR, questions=2).run()
    assert found.targets == 22
    assert found.without_noise == 1
    assert found.recovered < 1
    assert found.is_within
    assert found.steps[0].price <= LIMIT
    console = Console(file=StringIO(), width=120)
    console.print(shown.table([found], words(["--lang", "zh"], {})))
    assert "居民单桶" in console.file.getvalue()  # type: ignore[attr-defined]


def test_without_the_auditor_s_noise_the_coordinator_reads_every_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken on purpose: the hospitals' noise is no defence here, since a lying coordinator fills their slots."""
    monkeypatch.setattr(zero_test, "draw", lambda table, count, random: np.zeros(count, np.int64))
    assert Bucket(YEAR, questions=1).run().recovered == 1
