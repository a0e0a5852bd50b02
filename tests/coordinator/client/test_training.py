"""A fit from the bureau's side: wrong files and prices end with 2, the named --sd fits, and standard errors mean what they say."""

import json
import os
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from coordinator.client import render
from coordinator.client.city import City
from coordinator.client.errors import Unverified
from coordinator.client.fits import read_result
from coordinator.client.showing import is_fit
from coordinator.client.texts import ENGLISH, Say
from coordinator.client.training import Fitted, _coefficients, fitted
from coordinator.training import next_weights, trained_values
from privacy.pricing import price
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols import statements as st
from protocols.asked import VARIANCE_STEPS, Asked, variance_text
from protocols.contract import CONTRACT
from protocols.fit import SCALE, FitSpec, Weights
from protocols.fits import Evaluated, of_fields
from protocols.fits.words import fit_in_words
from protocols.query import Language
from protocols.secagg.ring import Integers
from protocols.v1 import link_pb2
from tests.coordinator.client.support.answers import one_number
from tests.coordinator.client.support.bureau import Bureau
from tests.coordinator.test_training import BINDING
from tests.support.trained import SPEC as TRAINED

FIT: dict[str, Any] = {
    "version": 1,
    "fit": "logistic",
    "table": "visits",
    "outcome": "IMP",
    "features": ["age", "male"],
    "period": {"from": "2026-10-01", "to": "2026-12-01"},
}
SPEC = FitSpec.from_json(FIT)


# -- what goes in


def _file(folder: Path, changes: dict[str, Any] | None = None) -> str:
    path = folder / "fit.json"
    path.write_text(json.dumps({**FIT, **(changes or {})}))
    return str(path)


LANGUAGES = ("en", "zh")
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "simulations" / "example_study" / "training.toml"
README = ROOT / "coordinator" / "client" / "README.md"


@pytest.mark.wire
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_file_that_is_no_fit_ends_with_2_and_its_place(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    broken, binary, listed = tmp_path / "broken.toml", tmp_path / "binary.json", tmp_path / "list.json"
    broken.write_text('outcome = "IMP"\nfeatures = }')
    binary.write_bytes(b"\xff\xfe\x00")
    listed.write_text("[1]")
    line = {"en": "line 2", "zh": "第 2 行"}[lang]
    wrong = {str(tmp_path / "none.json"): "none.json", str(broken): line, str(binary): "binary.json", str(listed): "list.json",
             str(tmp_path): str(tmp_path)}  # fmt: skip
    for path, place in wrong.items():
        assert bureau("train", path, lang=lang) == 2
        told = capsys.readouterr()
        assert place in told.err
        assert "Traceback" not in told.err + told.out
    assert bureau.desk.envelopes == []


@pytest.mark.wire
@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_unknown_feature_ends_with_2_and_the_known_ones(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    assert bureau("train", _file(tmp_path, {"features": ["age", "income"]}), lang=lang) == 2
    told = capsys.readouterr().err
    assert "features.1" in told
    assert all(each in told for each in ("age", "male", "winter", "weekend"))
    assert "Traceback" not in told


@pytest.mark.wire
@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("option", [("--sd", "0"), ("--sd", "-3"), ("--sd", "nan"), ("--sd", "inf"), ("--sd", "many"),
                                    ("--rounds", "1"), ("--rounds", "51"), ("--sd", "1e30")])  # fmt: skip
def test_noise_or_rounds_out_of_range_end_with_2(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str, option: tuple[str, str]
) -> None:
    assert bureau("train", _file(tmp_path), *option, lang=lang) == 2
    told = capsys.readouterr()
    assert told.err.strip()
    assert "Traceback" not in told.err
    assert bureau.desk.envelopes == []


@pytest.mark.wire
def test_the_example_of_a_study_is_asked_as_its_first_line_says(bureau: Bureau) -> None:
    """Researchers copy the folder; the line is what they type first."""
    words = EXAMPLE.read_text("utf-8").partition("\n")[0].removeprefix("# kapok train training.toml ").split("    ")[0].split()
    assert words[0] == "--rounds"
    bureau.desk.asked = lambda envelope: [link_pb2.Progress(query=st.parse(envelope).id, state="logged")]
    assert bureau("train", str(EXAMPLE), *words, "--detach") == 0
    assert len(bureau.desk.envelopes) == 1


@pytest.mark.wire
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_training_too_fine_for_any_noise_names_what_would_do(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    fine, asked = tmp_path / "fine.toml", ("--rounds", "50", "--price", "0.2", "--detach")
    fine.write_text(re.sub("fineness = [0-9]+", "fineness = 2048", EXAMPLE.read_text("utf-8")))
    assert bureau("train", str(fine), *asked, lang=lang) == 2
    told = capsys.readouterr().err
    assert "fineness" in told
    assert "3.1555" in told
    assert "variance" not in told


@pytest.mark.wire
@pytest.mark.parametrize("lang", LANGUAGES)
def test_too_little_noise_names_the_noise_that_fits(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    for stated, rounds in (("1", 6), ("0.3", 2), ("3.7", 50)):
        asked = ("train", _file(tmp_path), "--rounds", str(rounds), "--detach")
        assert bureau(*asked, "--sd", stated, lang=lang) == 2
        told = capsys.readouterr().err
        named = re.search(r"--sd ([0-9.]+)", told)
        assert named is not None, told
        assert f"{float(CONTRACT.limit('research')):.4f}" in told
        bureau.desk.asked = lambda envelope: [link_pb2.Progress(query=st.parse(envelope).id, state="logged")]
        assert bureau(*asked, "--sd", named.group(1), lang=lang) == 0
        assert float(named.group(1)) < 1.1 * _smallest_sd(rounds), "not far more than it needs"


def _smallest_sd(rounds: int) -> float:
    """By halving, with the price itself."""
    low, high = 0.01, 100.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if _cost(middle, rounds) <= CONTRACT.limit("research") else (middle, high)
    return high


def _cost(sd: float, rounds: int) -> Fraction:
    variance = Fraction(int((sd * SCALE) ** 2 * VARIANCE_STEPS), VARIANCE_STEPS)
    asked = Asked.of(_query_of(variance, rounds))
    return price(CONTRACT.order, asked.pieces, rounds).one


def _query_of(variance: Fraction, rounds: int) -> st.Query:
    hospitals = tuple(f"kapok://hospital/h{n:02d}" for n in range(1, 6))
    return st.Query(log="log/1", at="2026-11-23T08:00:00Z", by="kapok://bureau/cdc", nonce="ab" * 32, purpose="research",
                    programme=None, audience=hospitals, floor=4, valid_until="2026-11-24T08:00:00Z", rounds=rounds, spec=FIT,
                    variances=(variance_text(variance),))  # fmt: skip


@pytest.mark.wire
def test_the_question_that_is_sent_is_a_fit_for_the_auditor_to_approve(bureau: Bureau, tmp_path: Path) -> None:
    bureau.desk.asked = lambda envelope: [link_pb2.Progress(query=st.parse(envelope).id, state="logged")]
    assert bureau("train", _file(tmp_path), "--rounds", "4", "--sd", "18", "--detach") == 0
    query = st.parse(bureau.desk.envelopes[0]).statement
    assert isinstance(query, st.Query)
    assert (query.purpose, query.programme, query.rounds, query.spec) == ("research", None, 4, FIT)
    assert query.variances == (f"{324 * SCALE**2}.0000",)
    asked = Asked.of(query)
    assert asked.released_length == 9 + 3


@pytest.mark.wire
def test_a_question_of_this_home_that_asked_for_a_fit_is_read_as_one(bureau: Bureau, tmp_path: Path) -> None:
    """Read as a table's answer it would be told to be malformed: evidence where there is none."""
    bureau.desk.asked = lambda envelope: [link_pb2.Progress(query=st.parse(envelope).id, state="logged")]
    assert bureau("train", _file(tmp_path), "--rounds", "4", "--sd", "18", "--detach") == 0
    with bureau.connect() as city:
        assert is_fit(city, st.parse(bureau.desk.envelopes[0]).hex_id)
        assert not is_fit(city, "ab" * 32)


@pytest.mark.wire
@pytest.mark.parametrize("raw", [b"", b"{}", b'{"values": [1]}', b"\xff"])
def test_no_coefficient_is_read_from_bytes_that_do_not_verify(bureau: Bureau, raw: bytes) -> None:
    city: City = bureau.connect()
    with pytest.raises(Unverified), city:
        fitted(raw, "ab" * 32, city)


# -- what comes out

Floats = npt.NDArray[np.float64]
TRUE = np.array([-0.4, 0.6, 0.3])
SD = 8
ROUNDS = 6
RUNS = 300


def _visits(generator: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    rows = np.column_stack([np.ones(size), generator.uniform(-1, 1, size), generator.integers(0, 2, size)]).astype(np.float64)
    chance = 1 / (1 + np.exp(-rows @ TRUE))
    return rows, (generator.random(size) < chance).astype(np.float64)


def _sums(rows: Floats, outcome: Floats, weights: Weights) -> Integers:
    """The textbook's sums of the log-likelihood, not clipped: what is measured here is the standard error's own formula."""
    chance = 1 / (1 + np.exp(-rows @ weights))
    hessian = rows.T @ (rows * (chance * (1 - chance))[:, None])
    return np.asarray(np.rint(SCALE * np.r_[rows.T @ (outcome - chance), hessian[np.triu_indices(3)]]), np.int64)


@dataclass(frozen=True)
class Noise:
    """Four hospitals' shares, drawn by the product's own sampler."""

    variance: Fraction = Fraction((SD * SCALE) ** 2)

    def draw(self) -> Integers:
        table = skellam_table(share_variance(self.variance, BINDING.n, BINDING.c))
        shares = [draw(table, SPEC.width, os.urandom) for _ in BINDING.members]
        total: Integers = np.sum(shares, axis=0)
        return total

    @property
    def total(self) -> Fraction:
        return len(BINDING.members) * share_variance(self.variance, BINDING.n, BINDING.c)


@dataclass(frozen=True)
class Released:
    """The two fields of a bundle that the coefficients are read from."""

    values: tuple[int, ...]
    total_variances: tuple[str, ...]


def _one_run(seed: int, size: int, noise: Noise) -> list[bool]:
    rows, outcome = _visits(np.random.default_rng(seed), size)
    binding = _bound(noise)
    weights, vector = np.zeros(3), np.zeros(SPEC.width, np.int64)
    for _ in range(ROUNDS):
        vector = _sums(rows, outcome, weights) + noise.draw()
        weights = next_weights(SPEC, weights, vector, binding)
    released = Released(tuple(map(int, trained_values(SPEC, weights, vector))), (str(noise.total),))
    found = _coefficients(SPEC, released)  # type: ignore[arg-type]
    return [abs(each.value - true) <= 1.96 * each.standard_error for each, true in zip(found, TRUE, strict=True)]


def _bound(noise: Noise) -> Any:
    return replace(BINDING, variances=(int(noise.variance * VARIANCE_STEPS),))


@pytest.mark.statistical
def test_intervals_of_95_percent_hold_the_true_coefficients_that_often() -> None:
    # Per coefficient, at a true coverage of 95 % over 300 runs, exact binomial: at most 0.88 with probability 1.4e-6, all of them
    # with 2.1e-7. Three coefficients: a false alarm below 5e-6. Measured over 1,200 runs: 0.949, 0.949, 0.953.
    held = np.array([_one_run(seed, 4000, Noise()) for seed in range(RUNS)])
    coverage = held.mean(axis=0)
    assert (coverage > 0.88).all(), coverage
    assert (coverage < 1).all(), coverage


def test_a_standard_error_that_forgot_the_noise_would_be_too_small() -> None:
    """The measure above can fail: without its noise term the same runs cover far less."""
    rows, outcome = _visits(np.random.default_rng(1), 1500)
    vector = _sums(rows, outcome, TRUE)
    with_noise, without = (
        _coefficients(SPEC, Released(tuple(map(int, trained_values(SPEC, TRUE, vector))), (variance,)))  # type: ignore[arg-type]
        for variance in (str(Noise().total), "0")
    )
    assert all(a.standard_error > 1.05 * b.standard_error for a, b in zip(with_noise, without, strict=True))


def test_without_noise_the_standard_error_is_the_textbook_s() -> None:
    rows, outcome = _visits(np.random.default_rng(2), 4000)
    found = _coefficients(SPEC, Released(tuple(map(int, trained_values(SPEC, TRUE, _sums(rows, outcome, TRUE)))), ("0",)))  # type: ignore[arg-type]
    chance = 1 / (1 + np.exp(-rows @ TRUE))
    covariance = np.linalg.inv(rows.T @ (rows * (chance * (1 - chance))[:, None]))
    assert [each.standard_error for each in found] == pytest.approx(np.sqrt(np.diag(covariance)).tolist(), rel=1e-3)
    assert [each.value for each in found] == pytest.approx(TRUE.tolist(), abs=1e-6)


@pytest.mark.wire
def test_the_file_that_the_readme_shows_is_asked(bureau: Bureau, tmp_path: Path) -> None:
    shown = re.search(
        r"```toml\n(# admission\.toml: kapok train admission\.toml (.*?)\n.*?)```", README.read_text("utf-8"), re.DOTALL
    )
    assert shown is not None
    (tmp_path / "admission.toml").write_text(shown[1])
    bureau.desk.asked = lambda envelope: [link_pb2.Progress(query=st.parse(envelope).id, state="logged")]
    assert bureau("train", str(tmp_path / "admission.toml"), *shown[2].split(), "--detach") == 0


@pytest.mark.wire
@pytest.mark.parametrize(("lang", "told"), [("en", "linear is of a registered table"), ("zh", "linear 用于已登记的数据表")])
def test_a_fit_of_a_registered_table_without_its_catalogue_says_what_is_missing(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str, told: str
) -> None:
    (tmp_path / "fit.toml").write_text('fit = "linear"\ntable = "heart"\n')
    assert bureau("train", str(tmp_path / "fit.toml"), "--detach", lang=lang) == 2
    assert told in capsys.readouterr().err


def test_a_tested_training_heads_its_metrics_as_such_and_names_its_study() -> None:
    asked = of_fields(TRAINED)
    assert isinstance(asked, Evaluated)
    released = np.array([2**20] * asked.weights + [0] * asked.stepping + [400 * asked.unit] * 2 * asked.bins)
    given = Fitted("ab" * 32, asked, 6, read_result(asked, released, Fraction(1)), one_number(1).bundle)
    for say, heads in ((ENGLISH, ("on held-out", "value")), (Say(Language.ZH), ("留出病人上的指标", "数值"))):
        shown = render.as_text(render.fitted(given, say))
        assert all(each in shown for each in (*heads, "accuracy"))
        assert "coefficient" not in shown
        assert "系数" not in shown
        words = fit_in_words(asked, 6, say.lang)
        assert f"logistic 0.1.0{', ' if say is ENGLISH else '，'}sha256 {'ab' * 32}" in words
        assert "25%" in words
