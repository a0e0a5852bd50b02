"""The invented city keeps its promises: seed, census, hospitals, seasons, outbreak."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from scipy.stats import chisquare

from simulations.city.city import City, build_city
from simulations.city.hospitals import TWO_HOSPITAL_SHARE, open_hospitals
from simulations.city.outbreak import Outbreak
from simulations.city.residents import AGE_BANDS, DISTRICTS, census_shares, district_index
from simulations.city.seasons import DISEASES, _season, disease_index, expected_visits, first_code, year_days
from simulations.city.visits import TEMPERATURE
from tests.simulations.cities import arrays

# Every statistical test here has a fixed seed, so it never flickers; its stated rate is the chance that it would be
# red for another seed although the city is right.
FALSE_ALARM = 1e-4


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(7)


def test_the_same_seed_gives_the_same_city_to_the_last_bit() -> None:
    first, again = arrays(build_city(3, 3, 500)), arrays(build_city(3, 3, 500))
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_another_seed_gives_another_city_and_other_markers() -> None:
    one, other = build_city(3, 3, 500), build_city(4, 3, 500)
    assert not np.array_equal(one.visits.resident, other.visits.resident)
    assert not set(one.planted) & set(other.planted)


def test_district_populations_sum_to_the_published_total_of_the_census() -> None:
    assert sum(district.population for district in DISTRICTS) == 18_676_605
    assert len({district.adcode for district in DISTRICTS}) == 11


@pytest.mark.statistical
def test_residents_live_in_districts_by_the_census(city: City) -> None:
    """Chi-square over 11 districts, false-alarm rate 1e-4."""
    seen = np.bincount(city.residents.district, minlength=len(DISTRICTS))
    assert chisquare(seen, census_shares() * len(city.residents)).pvalue > FALSE_ALARM


@pytest.mark.statistical
def test_residents_ages_follow_the_stated_bands(city: City) -> None:
    """Chi-square over 7 bands, false-alarm rate 1e-4."""
    percents = np.array([band.percent for band in AGE_BANDS])
    seen = np.bincount(city.residents.age_band, minlength=len(AGE_BANDS))
    assert chisquare(seen, percents / percents.sum() * len(city.residents)).pvalue > FALSE_ALARM


def test_nobody_is_born_in_the_year_of_the_visits_or_later(city: City) -> None:
    assert city.residents.birth.max() < city.new_year


def test_every_hospital_has_visits_and_the_largest_twice_those_of_the_smallest(city: City) -> None:
    seen = np.bincount(city.hospital, minlength=6)
    assert seen.sum() == 6 * 8_000
    assert seen.max() > 2 * seen.min() > 0


def test_hospital_names_are_distinct_and_fit_the_identity_form() -> None:
    names = [hospital.name for hospital in open_hospitals(40)]
    assert len(set(names)) == 40
    assert all(name.replace("-", "").isalnum() and name.islower() and len(name) <= 63 for name in names)


def test_the_stated_share_of_patients_is_seen_at_two_hospitals_and_nobody_at_three(city: City) -> None:
    patients = len(np.unique(city.visits.resident))
    assert len(city.patients_of_two()) == round(TWO_HOSPITAL_SHARE * patients)
    assert sum(len(city.patients_of(index)) for index in range(6)) == patients + len(city.patients_of_two())


def test_a_city_of_one_hospital_sends_nobody_elsewhere() -> None:
    assert len(build_city(1, 1, 400).patients_of_two()) == 0


@pytest.mark.parametrize("year", [2024, 2025, 2030])
def test_expected_visits_are_a_distribution_over_the_days_of_the_year(year: int) -> None:
    rates = expected_visits(year)
    assert rates.shape == (len(DISEASES), len(year_days(year)))
    assert rates.min() > 0
    assert rates.sum() == pytest.approx(1)


def test_influenza_is_a_winter_disease_and_dengue_an_autumn_one() -> None:
    rates, month = expected_visits(2025), year_days(2025).astype("datetime64[M]").astype(int) % 12 + 1
    flu, dengue = rates[disease_index("influenza")], rates[disease_index("dengue")]
    assert flu[month == 1].sum() > 3 * flu[month == 10].sum()
    assert dengue[month == 9].sum() > 20 * dengue[month == 2].sum()


def test_a_season_goes_on_over_new_year_without_a_jump() -> None:
    for disease in DISEASES:
        season = _season(disease, 2025)
        assert season[0] == pytest.approx(season[-1], rel=0.05), disease.name


def test_planned_visits_fall_on_office_days_and_pause_at_spring_festival() -> None:
    rate = expected_visits(2025)[disease_index("hypertension")]
    monday, sunday, festival = (date(2025, 3, 3), date(2025, 3, 9), date(2025, 1, 29))
    on = {day: rate[day.timetuple().tm_yday - 1] for day in (monday, sunday, festival)}
    assert on[monday] > 3 * on[sunday]
    assert on[date(2025, 1, 29)] < on[monday] / 4


def test_the_outbreak_is_where_and_when_its_truth_says(city: City) -> None:
    truth = city.outbreak
    assert truth is not None
    rows = np.flatnonzero(city.visits.is_outbreak)
    days = city.new_year + city.visits.day[rows].astype("timedelta64[D]")
    assert len(rows) == truth.visits
    assert set(city.visits.disease[rows].tolist()) == {disease_index(truth.disease)}
    assert set(city.residents.district[city.visits.resident[rows]].tolist()) == {district_index(truth.adcode)}
    assert days.min() >= np.datetime64(truth.first_day)
    assert days.max() <= np.datetime64(truth.last_day)


def test_the_outbreak_stands_out_from_the_same_weeks_of_a_quiet_year(city: City) -> None:
    quiet = build_city(7, is_quiet=True)
    assert quiet.outbreak is None
    assert not quiet.visits.is_outbreak.any()
    assert _dengue_in_haizhu(city) > 20 * max(1, _dengue_in_haizhu(quiet))


def _dengue_in_haizhu(city: City) -> int:
    first = date(2025, 6, 30).timetuple().tm_yday - 1
    in_weeks = (city.visits.day >= first) & (city.visits.day < first + 35)
    of_disease = city.visits.disease == disease_index("dengue")
    return int((in_weeks & of_disease & (city.residents.district[city.visits.resident] == district_index("440105"))).sum())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"first_day": date(2025, 7, 1)}, "must be a Monday, got Tuesday"),
        ({"disease": "plague"}, "disease 'plague' is not simulated"),
        ({"adcode": "110101"}, "district '110101' is none of Guangzhou's 11"),
        ({"weeks": 0}, "expected weeks >= 1"),
    ],
)
def test_an_impossible_outbreak_is_refused(broken: dict[str, object], said: str) -> None:
    usual = {"disease": "dengue", "adcode": "440105", "first_day": date(2025, 6, 30), "weeks": 2, "visits": 5}
    with pytest.raises(ValueError, match=said):
        Outbreak(**(usual | broken))  # type: ignore[arg-type]


def test_an_outbreak_outside_the_year_or_larger_than_it_is_refused() -> None:
    with pytest.raises(ValueError, match="do not lie within 2025"):
        build_city(1, 2, 200, outbreak=Outbreak("dengue", "440105", date(2025, 12, 29), 2, 5))
    with pytest.raises(ValueError, match="401 visits do not fit into a year of 400"):
        build_city(1, 2, 200, outbreak=Outbreak("dengue", "440105", date(2025, 6, 30), 2, 401))


def test_a_city_without_a_hospital_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        build_city(1, 0)


def test_every_visit_has_a_first_diagnosis_of_its_disease(city: City) -> None:
    _, first = np.unique(city.diagnoses.visit, return_index=True)
    assert len(first) == len(city.visits)
    starts = np.array([first_code(index) for index in range(len(DISEASES) + 1)])
    assert np.array_equal(np.searchsorted(starts, city.diagnoses.code[first], side="right") - 1, city.visits.disease)


def test_influenza_has_fever_and_back_pain_has_not(city: City) -> None:
    taken = city.measurements.kind == TEMPERATURE
    disease = city.visits.disease[city.measurements.visit[taken]]
    celsius = city.measurements.tenths[taken] / 10
    assert celsius[disease == disease_index("influenza")].mean() > 38.5
    assert celsius[disease == disease_index("back pain")].mean() < 36.8
