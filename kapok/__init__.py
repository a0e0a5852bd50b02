"""Ask a city's hospitals from Python: `kapok.connect(home).query(sql, sd=20, programme="ILI").table()`, `.fit("logistic", …)`.

The program of the same name is `coordinator.client`; this is its import name.
"""

from coordinator.client.city import Answer, City, Plan, Request
from coordinator.client.errors import BadUsage, ClientError, NotGiven, Unreachable, Unverified
from coordinator.client.interactive import InteractiveCity, category, connect, number
from coordinator.client.model import Model

__all__ = [
    "Answer", "BadUsage", "City", "ClientError", "InteractiveCity", "Model", "NotGiven", "Plan", "Request", "Unreachable",
    "Unverified", "category", "connect", "number",
]  # fmt: skip
