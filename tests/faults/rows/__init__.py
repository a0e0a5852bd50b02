"""The fault table: at which point what happens, how the question ends, and with which reasons. One row, one function.

The town has five hospitals and a floor of four. A row brings it to its point, lets the fault happen, and mends it again, so that
the next row finds the town whole. The rows' order is the order in which they run.
"""

# Imported in the order in which the rows run.
from tests.faults.rows import hospital, coordinator, auditor, residents, others, training  # isort: skip
from tests.faults.rows.row import TABLE, Row

__all__ = ["TABLE", "Row", "auditor", "coordinator", "hospital", "others", "residents", "training"]
