"""Ports for servers on loopback that must know their own, and each other's, before they start.

A port that the system hands out (bind to 0) comes from the range of outgoing connections: between choosing it and listening on it,
and while its server is restarted, any connection of any process can be given it. These are from below that range.
"""

import socket
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

LOWEST = 10_000
EPHEMERAL_FROM = 32_768  # Linux's default, where the system does not tell
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on now and that no outgoing connection will be given."""
    candidates = range(LOWEST, max(_ephemeral_from(), LOWEST + 1_000))
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            door, port = held.enter_context(socket.socket()), SystemRandom().choice(candidates)
            try:
                door.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def _ephemeral_from() -> int:
    try:
        return int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return EPHEMERAL_FROM
