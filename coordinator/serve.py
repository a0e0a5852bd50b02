"""The coordinator's process: log, rounds and doors on one event loop, until a signal asks for an orderly end.

Ending drains: hospitals are told to come back, questions stay in the register, and the next start goes on with them.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import structlog

from audit_ledger.before import PastLog, finish
from audit_ledger.errors import LedgerError, LogStopped
from audit_ledger.log.store import LogStore
from audit_ledger.log_http import log_app
from audit_ledger.note import LogKey
from audit_ledger.party.channel import OPTIONS, require_tls_1_3, server_credentials
from audit_ledger.party.home import Home
from audit_ledger.party.interceptor import Discreet
from audit_ledger.party.process import settle
from audit_ledger.party.web import Web
from coordinator.config import Config
from coordinator.errors import CoordinatorError, NotFounded
from coordinator.ledger import CityLedger
from coordinator.members import Members
from coordinator.opening import Auditor
from coordinator.register import Register
from coordinator.rounds import Rounds
from coordinator.service.desk import Desk
from coordinator.service.enrolment import Enrolment
from coordinator.service.link import Link
from coordinator.service.log_door import add_to
from coordinator.transport_ca import CertificateAuthority
from coordinator.witnesses import open_witnesses
from protocols.contract import CONTRACT
from protocols.identity import SigningKey
from protocols.v1 import link_pb2, link_pb2_grpc

log = structlog.get_logger("coordinator")
DRAIN_S = 2.0


@dataclass(slots=True)
class Coordinator:
    """The parts of a running coordinator."""

    config: Config
    store: LogStore
    ledger: CityLedger
    members: Members
    rounds: Rounds
    register: Register
    auditor: Auditor
    servers: list[grpc.aio.Server]
    web: Web | None


def open_log(home: Home, config: Config) -> LogStore:
    """The log, opened and verified. Raises LedgerError."""
    key = home.key("log")
    vkey = LogKey.parse(config.log_vkey)
    return LogStore(home.path / "log.sqlite", home.path / "ledger", vkey, key)


async def serve(home: Home, is_ready: Callable[[str], None], clock: Callable[[], int] = lambda: int(time.time())) -> None:
    """Runs until SIGTERM or SIGINT. `is_ready` is called once with the address of the link. Raises LogStopped when the log has."""
    finish(home)  # a move to the next period's log that a crash interrupted
    config = Config.read(home)
    if not home.has("trust.policy"):
        raise NotFounded("the log has no entry 0 yet: let the auditor countersign founding/draft.json, then `init --founding FILE`")
    coordinator = await _start(home, config, clock)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    coordinator.ledger.when_stopped(stop.set)
    publisher = asyncio.create_task(coordinator.ledger.publish_forever())
    keeper = asyncio.create_task(_keep_house(coordinator, clock))
    settle()
    is_ready(config.link_listen)
    await stop.wait()
    await _drain(coordinator)
    for task in (publisher, keeper):
        task.cancel()
    await asyncio.gather(publisher, keeper, return_exceptions=True)
    await coordinator.ledger.settle()
    await coordinator.auditor.close()
    await asyncio.to_thread(coordinator.store.close)
    coordinator.register.close()
    if (why := coordinator.ledger.stopped) is not None:
        raise LogStopped(f"{why}: see to the disk, or to the other writer, and run again; what was acknowledged stands")


async def _start(home: Home, config: Config, clock: Callable[[], int]) -> Coordinator:
    trust = home.trust()
    store = await asyncio.to_thread(open_log, home, config)
    past = await asyncio.to_thread(PastLog.read, home)
    ledger = CityLedger(store, open_witnesses(config, trust, store, home), trust, clock, past)
    await _found(home, ledger)
    register, members = Register(home.path / "register.sqlite"), Members()
    auditor = Auditor(home, config.opener_address, ledger.view.authority.root.auditor if ledger.view.authority.root else "")
    identity: SigningKey = home.key("identity")
    rounds = Rounds(ledger, members, auditor, register, identity, config.uri, clock, config.timing)
    await rounds.resume()  # before the doors open: nobody finds an open question unknown
    servers = await _open_doors(home, config, ledger, members, rounds, register)
    web = await _open_log_door(home, config, ledger)
    return Coordinator(config, store, ledger, members, rounds, register, auditor, servers, web)


async def _found(home: Home, ledger: CityLedger) -> None:
    """The founding entries go first; at a restart they stand already and keep their places."""
    for path in sorted((home.path / "founding").glob("entry-*.json")):
        await ledger.append([path.read_bytes()])


async def _open_doors(
    home: Home, config: Config, ledger: CityLedger, members: Members, rounds: Rounds, register: Register
) -> list[grpc.aio.Server]:
    main = grpc.aio.server(interceptors=[Discreet()], options=OPTIONS)
    link_pb2_grpc.add_NodeLinkServicer_to_server(Link(ledger, members, rounds), main)
    link_pb2_grpc.add_DeskServicer_to_server(Desk(ledger, members, rounds, register), main)
    _bind(main, config.link_listen, server_credentials(home))
    door = grpc.aio.server(interceptors=[Discreet()], options=OPTIONS)
    link_pb2_grpc.add_EnrolmentServicer_to_server(Enrolment(CertificateAuthority.load(home), register), door)
    require_tls_1_3()
    key, certificate = home.transport_key(), (home.path / "tls" / "cert.pem").read_bytes()
    _bind(door, config.enrol_listen, grpc.ssl_server_credentials([(key, certificate)]))
    for server in (main, door):
        await server.start()
    return [main, door]


async def _open_log_door(home: Home, config: Config, ledger: CityLedger) -> Web | None:
    if not config.http_listen:
        return None
    web = Web(log_app(home.path / "ledger", add_to(ledger), _closed_logs(ledger.past)), config.http_listen)
    await web.start()
    return web


def _closed_logs(past: PastLog | None) -> dict[str, Path]:
    """The logs before, each below /log/ and its name."""
    found = {}
    while past is not None:
        found[f"/log/{past.view.authority.origin}"] = past.folder
        past = past.before
    return found


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> None:
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError:
        raise LedgerError(f"{address}: cannot listen there; another process may hold the port") from None


async def _keep_house(coordinator: Coordinator, clock: Callable[[], int]) -> None:
    """Keeps the newest cosignature young for reconnecting hospitals, and forgets masked vectors after their time."""
    while True:
        await asyncio.sleep(CONTRACT.freshness_s / 4)
        with contextlib.suppress(LedgerError, CoordinatorError):
            await coordinator.ledger.refreshed(CONTRACT.freshness_s // 4)
        await asyncio.to_thread(coordinator.register.forget, clock() - CONTRACT.keep_days * 86_400)


async def _drain(coordinator: Coordinator) -> None:
    frame = link_pb2.CoordinatorFrame(drain=link_pb2.Drain(reconnect_after_s=1))
    for member in coordinator.members.all():
        with contextlib.suppress(asyncio.QueueFull):
            member.send(frame)
            member.outbox.put_nowait(None)
    await asyncio.gather(*(server.stop(DRAIN_S) for server in coordinator.servers))
    if coordinator.web is not None:
        await coordinator.web.stop()
