"""TLS 1.3 or nothing: every door, every program's own connections, and the order of imports on which that rests."""

import re
import socket
import ssl
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from audit_ledger.party import channel
from audit_ledger.party.channel import open_blocking_channel, server_credentials, server_name
from audit_ledger.party.home import Home
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, COORDINATOR

ROOT = Path(__file__).parents[2]
PROGRAMS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
HOSPITAL = "kapok://hospital/h01"
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

pytestmark = pytest.mark.wire


@pytest.fixture
def ca() -> Authority:
    return Authority()


@pytest.fixture
def door(ca: Authority, tmp_path: Path) -> Iterator[int]:
    """The port of a gRPC server with the credentials that coordinator and auditor use."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(ca.equip(tmp_path / "door", COORDINATOR)))
    server.start()
    yield port
    server.stop(None).wait()


def _context(home: Home, protocol: int, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(home.path / "tls" / "cert.pem", home.path / "tls" / "key.pem")
    context.load_verify_locations(home.path / "tls" / "ca.pem")
    context.set_alpn_protocols(["h2"])
    return context


def _greet(home: Home, port: int, version: ssl.TLSVersion) -> str | None:
    context = _context(home, ssl.PROTOCOL_TLS_CLIENT, version)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=server_name(COORDINATOR)) as secure,
    ):
        return secure.version()


def test_a_door_speaks_tls_1_3_and_refuses_1_2(ca: Authority, door: int, tmp_path: Path) -> None:
    home = ca.equip(tmp_path / "h01", HOSPITAL)
    assert _greet(home, door, NEW) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _greet(home, door, OLD)


@pytest.mark.parametrize(("version", "met"), [(OLD, "NO_SHARED_CIPHER"), (NEW, "TLSv1.3")])
def test_a_connection_of_ours_meets_only_a_server_of_tls_1_3(
    ca: Authority, tmp_path: Path, version: ssl.TLSVersion, met: str
) -> None:
    context, found = _context(ca.equip(tmp_path / "server", COORDINATOR), ssl.PROTOCOL_TLS_SERVER, version), []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)

        def serve() -> None:
            plain, _ = listening.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as secure:
                    found.append(secure.version())
            except ssl.SSLError as error:
                found.append(error.reason)

        serving = threading.Thread(target=serve)
        serving.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with open_blocking_channel(ca.equip(tmp_path / "h01", HOSPITAL), address, COORDINATOR) as opened:
            with pytest.raises(grpc.RpcError):
                opened.unary_unary("/nobody/answers")(b"", timeout=20)
            serving.join(20)
    assert found == [met]


def test_no_door_opens_where_grpc_was_there_first(monkeypatch: pytest.MonkeyPatch, ca: Authority, tmp_path: Path) -> None:
    monkeypatch.setattr(channel, "BARS_OLD_TLS", False)
    with pytest.raises(RuntimeError, match=r"gRPC was imported before audit_ledger: this door would accept TLS 1\.2"):
        server_credentials(ca.equip(tmp_path / "a", AUDITOR))


def _bars(imports: str) -> str:
    """Whether it imports the package that bars, and whether gRPC, now or later, comes behind it."""
    code = f"import {imports}, sys; print('audit_ledger' in sys.modules, __import__('audit_ledger').BARS_OLD_TLS)"
    clean = {"PATH": "", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean).stdout.strip()


@pytest.mark.parametrize(
    "module", [*sorted({each.partition(":")[0] for each in PROGRAMS.values()} - {"simulations.main"}), "kapok"]
)
def test_every_program_bars_old_tls_before_it_imports_grpc(module: str) -> None:
    assert _bars(module) == "True True"


def test_who_imports_grpc_first_is_told_apart() -> None:
    assert _bars("grpc") == "False False"


def test_credentials_are_made_in_two_places_and_both_require_tls_1_3() -> None:
    found = {
        str(path.relative_to(ROOT)): path.read_text().count("require_tls_1_3()")
        for package in ("audit_ledger", "coordinator", "hospital_node")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"ssl_server_credentials\(", path.read_text())
    }
    assert found == {"audit_ledger/party/channel.py": 2, "coordinator/serve.py": 1}
