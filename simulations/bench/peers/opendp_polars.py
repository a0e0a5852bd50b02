"""OpenDP on Polars: the table lies in memory, weeks are cut already, the keys are public.

`keep="first"` is the choice of cells that works in this version: `"sample"`, its default, refuses two keys.
"""

import sys
import warnings
from pathlib import Path

import opendp.prelude as dp
import polars as pl

from simulations.bench.peers.worker import serve

KEYS = ["week", "district"]


def main(table: Path) -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    dp.enable_features("contrib")
    data = pl.read_csv(table, schema={"person_id": pl.Int64, "week": pl.Int32, "district": pl.String})
    keys = data.select(pl.col("week").unique()).join(data.select(pl.col("district").unique()), how="cross")

    def turn() -> int:
        context = dp.Context.compositor(
            data=data.lazy(),
            privacy_unit=dp.unit_of(contributions=1, identifier="person_id"),
            privacy_loss=dp.loss_of(rho=0.1),
            split_evenly_over=1,
        )
        bounded = context.query().truncate_per_group(3, by=KEYS).truncate_num_groups(4, by=KEYS, keep="first")
        counted = (
            bounded.group_by(KEYS)
            .agg(
                dp.len(),  # type: ignore[attr-defined]
                pl.col("person_id").dp.n_unique(),
            )
            .with_keys(keys.lazy())
        )
        return 2 * len(counted.release().collect())

    serve(turn)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
