"""The fault table as Markdown: `python -m tests.faults.support.table` prints what belongs into the folder's README."""

from tests.faults.rows import TABLE, Row
from tests.faults.test_liars import LIES


def readme_table() -> str:
    head = ["| point | fault | end | answered / refused / away / left out |", "| --- | --- | --- | --- |"]
    lies = ["", "| a coordinator that lies | refused by | reasons |", "| --- | --- | --- |"]
    lies += [f"| {name} | {each.by} | {codes(each.reasons)} |" for name, each in LIES.items()]
    return "\n".join([*head, *map(line, TABLE), *lies])


def line(row: Row) -> str:
    why = f": {codes(row.reasons)}" if row.reasons else ""
    return f"| {row.point} | {row.fault} | {row.state}{why} | {' / '.join(map(str, row.coverage))} |"


def codes(reasons: frozenset[str]) -> str:
    return ", ".join(f"`{each}`" for each in sorted(reasons))


if __name__ == "__main__":
    print(readme_table())  # noqa: T201
