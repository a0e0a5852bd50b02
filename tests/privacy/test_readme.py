"""The package's own pages: the example runs, every module is in the table, every error code is stable and unlike the others."""

import re
from pathlib import Path

import privacy
from privacy import errors

PACKAGE = Path(privacy.__file__).parent
README = (PACKAGE / "README.md").read_text()


def test_the_example_of_the_readme_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert len(names["noise"]) == 1144


def test_every_module_has_a_row_in_the_readme():
    rows = set(re.findall(r"^\| `(\w+\.py)` \|", README, re.MULTILINE))
    assert rows == {module.name for module in PACKAGE.glob("*.py")} - {"__init__.py"}


def test_every_error_has_a_code_of_its_own_under_one_root():
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert all(issubclass(kind, errors.PrivacyError) for kind in classes)
    codes = [kind.code for kind in classes]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"privacy\.[a-z_]+", code) for code in codes)


def test_the_threat_model_fits_its_page():
    assert len((PACKAGE / "THREATS.md").read_text().splitlines()) <= 120
