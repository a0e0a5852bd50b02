"""A question's whole life through the opener, and what it says when it is asked again."""

from pathlib import Path

import numpy as np

from tests.support.city import DIMENSION, City, Question


def test_the_opened_sum_is_the_sum_of_the_hospitals(tmp_path: Path) -> None:
    city = City(tmp_path)
    question = Question(city, city.opener())
    values = question.live()
    assert values.tolist() == sum(question.exact.values(), np.zeros(DIMENSION, np.int64)).tolist()
    assert city.findings() == []
