"""Ask a city's hospitals a question from Python: `kapok.connect(home).query(sql, sd=20, programme="ILI").table()`.

The program of the same name is `coordinator.client`; this is its import name.
"""

from coordinator.client.city import Answer, City, Plan, Request, connect
from coordinator.client.errors import BadUsage, ClientError, NotGiven, Unreachable, Unverified

__all__ = ["Answer", "BadUsage", "City", "ClientError", "NotGiven", "Plan", "Request", "Unreachable", "Unverified", "connect"]
