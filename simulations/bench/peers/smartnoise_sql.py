"""SmartNoise SQL over a pandas table, which it keeps in SQLite in memory; weeks are cut already and the
keys are taken as public."""

import sys
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped]
from snsql import Privacy, from_df

from simulations.bench.peers.worker import serve

SQL = "SELECT week, district, COUNT(*) AS n, COUNT(DISTINCT person_id) AS persons FROM K.V GROUP BY week, district"


def main(table: Path) -> None:
    data = pd.read_csv(table, names=["person_id", "week", "district"], header=0, dtype={"district": "str"})
    columns = {
        "person_id": {"type": "int", "private_id": True},
        "week": {"type": "int", "lower": 0, "upper": 51},
        "district": {"type": "string"},
    }
    metadata = {"": {"K": {"V": {"rows": len(data), "max_ids": 4, "sample_max_ids": True, "censor_dims": False, **columns}}}}
    reader = from_df(data, privacy=Privacy(epsilon=1.0, delta=1e-6), metadata=metadata)
    del data
    serve(lambda: 2 * (len(reader.execute(SQL)) - 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
