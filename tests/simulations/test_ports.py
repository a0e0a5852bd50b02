import socket
from pathlib import Path

import pytest

from simulations import ports


def test_a_port_is_never_one_that_an_outgoing_connection_may_be_given() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = ports.free_ports(200)
    assert len(set(found)) == 200
    assert max(found) < lowest


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = ports.free_ports(2)
    offered = iter([taken, taken, free])
    monkeypatch.setattr(ports, "SystemRandom", lambda: type("Dealt", (), {"choice": lambda _self, _of: next(offered)})())
    with socket.create_server(("127.0.0.1", taken)):
        assert ports.free_ports(1) == [free]
