"""The log's HTTP door over a running city ledger: what it takes is durable, what it refuses has a code, a crowd waits."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.log import Disk, LogStore
from audit_ledger.log_http import MAX_WAITING, log_app
from audit_ledger.note import KeyType, LogKey, Note, VerifierKey
from audit_ledger.party.web import Web
from audit_ledger.tiles import check_log
from coordinator.ledger import CityLedger
from coordinator.service.log_door import add_to
from protocols import statements as st
from protocols.canonical import b64
from tests.coordinator.support.asked import query
from tests.coordinator.support.witness import CityWitness
from tests.support.city import AUDITOR, ORIGIN, City, key
from tests.support.http import ask

Reply = tuple[int, dict[str, Any], str | None]


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


class HeldDisk(Disk):
    """Lets no commit through while it is held."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.commits = 0
        self.error: Exception | None = None

    def commit(self, connection: sqlite3.Connection) -> None:
        self.commits += 1
        self.reached.set()
        assert self.go_on.wait(30)
        if self.error:
            raise self.error
        super().commit(connection)


def with_disk(city: City, disk: Disk) -> None:
    """The city's log, opened anew on a disk that a test commands."""
    city.log.close()
    log_key = LogKey(VerifierKey(ORIGIN, KeyType.ED25519, city.log_key.public))
    city.log = LogStore(city.path / "log.sqlite", city.folder, log_key, city.log_key, disk=disk)


class Door:
    """The door of a city's ledger, and requests to it from threads."""

    def __init__(self, city: City, ledger: CityLedger, address: str) -> None:
        self.city, self.ledger, self.url = city, ledger, f"http://{address}"

    async def get(self, path: str) -> bytes:
        answer, body = await asyncio.to_thread(ask, self.url, "GET", path)
        assert answer.status == 200, path
        return body

    async def add(self, body: bytes, **headers: str) -> Reply:
        answer, content = await asyncio.to_thread(ask, self.url, "POST", "/add", body, **headers)
        assert answer.getheader("Content-Type") == "application/json"
        assert answer.getheader("Cache-Control") == "no-store"
        return answer.status, json.loads(content), answer.getheader("Retry-After")


def in_life(city: City, work: Callable[[Door], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        ledger = CityLedger(city.log, CityWitness(city), city.trust, lambda: city.now)
        publisher = asyncio.create_task(ledger.publish_forever())
        web = Web(log_app(city.folder, add_to(ledger)), "127.0.0.1:0")
        await web.start()
        try:
            await work(Door(city, ledger, web.address))
        finally:
            await web.stop()
            publisher.cancel()
            with suppress(asyncio.CancelledError):
                await publisher
            await ledger.settle()

    asyncio.run(run())


def dataset(city: City, number: int, **changes: Any) -> bytes:
    """A statement that any hospital may make at any time; the number makes it another one."""
    hospital = next(iter(city.hospitals.values()))
    statement = st.Dataset(**city.head(hospital.uri), tables=(), freshness=f"as of {number}", static_blocks=())
    return city.sign(statement.model_copy(update=changes), hospital.identity)


def strangers(city: City) -> bytes:
    return city.sign(st.parse(dataset(city, 1)).statement, key("a stranger"))


def codes(reply: Reply) -> tuple[int, set[str]]:
    return reply[0], {each["code"] for each in reply[1]["refusals"]}


def test_what_is_taken_is_durable_and_soon_cosigned_and_published(city: City) -> None:
    async def work(door: Door) -> None:
        entry, size = dataset(city, 1), city.log.size
        assert await door.add(entry) == (200, {"index": size}, None)
        assert city.log.entries(size, size + 1) == [entry]
        await door.ledger.cosigned()
        await door.ledger.settle()
        note = await door.get("/checkpoint")
        assert Checkpoint.parse(Note.parse(note).text).size == size + 1
        assert city.trust.policy.evaluate(note, city.now, 60).checkpoint.size == size + 1
        assert entry in await door.get(f"/tile/entries/000.p/{size + 1}")
        check_log(city.folder, city.trust.policy)

    in_life(city, work)


def test_nobody_has_to_ask_for_the_cosignature(city: City) -> None:
    async def work(door: Door) -> None:
        size = city.log.size
        await door.add(dataset(city, 1))
        async with asyncio.timeout(30):
            while door.ledger.note_size <= size:
                await asyncio.sleep(0)

    in_life(city, work)


def test_a_statement_sent_twice_or_in_another_envelope_keeps_its_place(city: City) -> None:
    async def work(door: Door) -> None:
        entry, size = dataset(city, 1), city.log.size
        twin = st.parse(entry).envelope.signed([key("a stranger")]).encode()
        assert [(await door.add(each))[1] for each in (entry, dataset(city, 2), entry, twin)] == [
            {"index": size}, {"index": size + 1}, {"index": size}, {"index": size},
        ]  # fmt: skip
        assert city.log.size == size + 2

    in_life(city, work)


def test_sent_at_once_by_many_each_statement_is_there_once(city: City) -> None:
    async def work(door: Door) -> None:
        size = city.log.size
        entries = [dataset(city, number) for number in range(8)]
        replies = await asyncio.gather(*(door.add(entry) for entry in entries * 4))
        assert {reply[0] for reply in replies} == {200}
        found = [reply[1]["index"] for reply in replies]
        assert found[:8] * 4 == found
        assert sorted(found[:8]) == list(range(size, size + 8))
        assert [city.log.entries(at, at + 1)[0] for at in found[:8]] == entries

    in_life(city, work)


@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        (lambda city: b"", 400, "malformed"),
        (lambda city: b"{", 400, "malformed"),
        (lambda city: b"\xff\xfe", 400, "malformed"),
        (lambda city: dataset(city, 1) + b"\n", 400, "malformed"),  # another spelling of the same envelope
        (lambda city: dataset(city, 1).replace(b'"payload":', b'"payload" :'), 400, "malformed"),
        (lambda city: query(city), 400, "malformed"),  # a question's life goes through the rounds
        (lambda city: strangers(city), 422, "authority.signature"),
        (lambda city: dataset(city, 1, log="another.example/log"), 422, "entry.wrong_log"),
        (lambda city: city.sign(st.Revocation(**city.head(AUDITOR), target="0" * 64, reason="no"), city.approval), 422, "target"),
        (lambda city: city.sign(st.parse(dataset(city, 1, by=AUDITOR)).statement, city.approval), 422, "authority.role"),
        (lambda city: bytes(65_536), 413, "ledger.entry_too_large"),
    ],
)  # fmt: skip
def test_what_is_refused_has_its_code_and_leaves_no_trace(
    city: City, make: Callable[[City], bytes], status: int, code: str
) -> None:
    async def work(door: Door) -> None:
        size = city.log.size
        got, found = codes(await door.add(make(city)))
        assert got == status
        assert any(code in each for each in found), found
        assert city.log.size == door.ledger.size == size
        assert (await door.add(dataset(city, 2)))[0] == 200

    in_life(city, work)


def test_a_key_revoked_a_moment_before_speaks_no_more(city: City) -> None:
    hospital = next(iter(city.hospitals.values()))
    revoke = st.KeyRevoke(**city.head(AUDITOR), subject=hospital.uri, key=b64(hospital.identity.public), reason="lost")

    async def work(door: Door) -> None:
        assert (await door.add(dataset(city, 1)))[0] == 200
        assert (await door.add(city.sign(revoke, city.approval)))[0] == 200
        assert codes(await door.add(dataset(city, 2))) == (422, {"authority.signature"})

    in_life(city, work)


def test_the_largest_entry_is_read_and_one_byte_more_is_not(city: City) -> None:
    async def work(door: Door) -> None:
        assert codes(await door.add(b"x" * 65_535))[0] == 400
        assert codes(await door.add(b"x" * 65_536)) == (413, {"ledger.entry_too_large"})
        assert codes(await door.add(b"x" * 100, Content_Length="999999"))[0] == 413  # said, not sent

    in_life(city, work)


def test_a_crowd_is_told_to_come_back_and_the_rounds_still_get_in(city: City) -> None:
    disk = HeldDisk()
    with_disk(city, disk)

    async def work(door: Door) -> None:
        size = city.log.size
        disk.reached.clear()
        disk.go_on.clear()
        add = add_to(door.ledger)
        first = asyncio.create_task(add(dataset(city, 0)))
        await asyncio.to_thread(disk.reached.wait, 30)
        app = log_app(city.folder, add)
        crowd = [asyncio.create_task(post(app, dataset(city, number))) for number in range(1, MAX_WAITING + 4)]
        while sum(each.done() for each in crowd) < 3:
            await asyncio.sleep(0)
        refused = [each.result() for each in crowd if each.done()]
        assert {(status, headers[b"retry-after"]) for status, headers in refused} == {(503, b"1")}
        rounds = asyncio.create_task(door.ledger.append([query(city)]))
        await asyncio.sleep(0)
        disk.go_on.set()
        assert await first == size
        assert await rounds == [size + 1 + MAX_WAITING]
        assert [status for status, _ in await asyncio.gather(*crowd)].count(200) == MAX_WAITING

    in_life(city, work)


def test_all_who_come_together_share_a_commit(city: City) -> None:
    disk = HeldDisk()
    with_disk(city, disk)

    async def work(door: Door) -> None:
        disk.reached.clear()
        disk.go_on.clear()
        add = add_to(door.ledger)
        first = asyncio.create_task(add(dataset(city, 0)))
        await asyncio.to_thread(disk.reached.wait, 30)
        before = disk.commits
        more = [asyncio.create_task(add(dataset(city, number))) for number in range(1, 101)]
        await asyncio.sleep(0)
        disk.go_on.set()
        await asyncio.gather(first, *more)
        assert disk.commits - before < 10  # of a hundred: theirs, and those of checkpoints that were asked for

    in_life(city, work)


def test_a_caller_who_goes_away_takes_nothing_out_of_the_queue(city: City) -> None:
    disk = HeldDisk()
    with_disk(city, disk)

    async def work(door: Door) -> None:
        size = city.log.size
        disk.reached.clear()
        disk.go_on.clear()
        add = add_to(door.ledger)
        tasks = [asyncio.create_task(add(dataset(city, 0)))]
        await asyncio.to_thread(disk.reached.wait, 30)
        tasks += [asyncio.create_task(add(dataset(city, number))) for number in (1, 2)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        disk.go_on.set()
        assert await tasks[0] == size
        assert await tasks[2] == size + 2
        assert city.log.entries(size + 1, size + 2) == [dataset(city, 1)]
        assert await add(dataset(city, 1)) == size + 1

    in_life(city, work)


def test_a_failed_commit_fails_everybody_and_the_next_open_knows_who_was_logged(city: City) -> None:
    disk = HeldDisk()
    with_disk(city, disk)
    size = city.log.size

    async def work(door: Door) -> None:
        disk.error = OSError(5, "Input/output error")
        replies = await asyncio.gather(*(door.add(dataset(city, number)) for number in range(5)))
        assert {codes(reply)[0] for reply in replies} == {503}
        assert {code for reply in replies for code in codes(reply)[1]} == {"ledger.stopped"}
        assert codes(await door.add(dataset(city, 9))) == (503, {"ledger.stopped"})

    in_life(city, work)
    with_disk(city, Disk())
    assert city.log.size == size


async def post(app: Any, body: bytes) -> tuple[int, dict[bytes, bytes]]:
    """One request to the application itself: more of them at once than threads would bring."""
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "method": "POST", "path": "/add", "headers": [], "query_string": b"", "http_version": "1.1"}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])
