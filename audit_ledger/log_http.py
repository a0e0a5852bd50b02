"""The log over HTTP: its tiles as static files, and one door through which statements come in. C2SP tlog-tiles 0.1.0.

Rules
- `GET /checkpoint`: `text/plain; charset=utf-8`, kept by caches for a second. `GET /tile/…`: `application/octet-stream`, immutable.
- Only the one spelling of a tile's path names a file; whatever else is asked for is not there, and no cache keeps that. A partial
  whose full tile is published goes away: the reader takes the full one.
- `POST /add`: the body is one entry. Who may state what is the ledger's business (`Add`); here it is bounded: a body above 65,535
  bytes is refused before it is read, and above `MAX_WAITING` statements at once the answer is 503 with Retry-After, below the log's
  own bound, so that a crowd at this door does not shut out the rounds.
- Refusals are JSON, `{"refusals": [{"code", "expected", "got"}]}`; what was taken is `{"index": n}`, and durable.

Nobody is authenticated: a statement is worth its signatures, and the log is public among all who reach the door.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from audit_ledger.errors import Busy, EntryTooLarge, MalformedTile
from audit_ledger.tiles import CHECKPOINT_PATH, MAX_ENTRY, Tile
from protocols.canonical import encode_json

MAX_WAITING = 192  # of the 256 that the log lets wait
_CHECKPOINT = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "public, max-age=1"}
_TILE = {"Content-Type": "application/octet-stream", "Cache-Control": "public, max-age=31536000, immutable"}
_NOT_KEPT = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an entry was not taken."""

    status: HTTPStatus
    refusals: tuple[dict[str, str], ...]


Add = Callable[[bytes], Awaitable[int | Refused]]
"""Takes one entry: its durable index, or why not."""


def refused(status: HTTPStatus, code: str, expected: str = "", got: str = "") -> Refused:
    return Refused(status, ({"code": code, "expected": expected, "got": got},))


def log_app(folder: Path, add: Add | None = None, others: Mapping[str, Path] = MappingProxyType({})) -> ASGIApp:
    """The application over a published folder; without `add` it is for readers only.

    `others`: folders of more logs to read, each below its own prefix.
    """

    async def checkpoint(_: Request) -> Response:
        return await _file(folder / CHECKPOINT_PATH, _CHECKPOINT)

    async def tile(request: Request) -> Response:
        try:
            path = Tile.parse(f"tile/{request.path_params['path']}").path
        except MalformedTile:
            return _absent()
        return await _file(folder / path, _TILE)

    mounted = [Mount(prefix, log_app(place)) for prefix, place in others.items()]
    routes = [*mounted, Route("/checkpoint", checkpoint), Route("/tile/{path:path}", tile)]
    files = Starlette(routes=routes, exception_handlers={HTTPStatus.NOT_FOUND: _nowhere})
    files.router.redirect_slashes = False
    return files if add is None else _Door(files, add)


@dataclass(slots=True)
class _Door:
    """`POST /add`, and the files behind it. Beside the framework's routes: they would cost a third of an append."""

    files: ASGIApp
    add: Add
    waiting: int = field(default=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/add":
            return await self.files(scope, receive, send)
        if scope["method"] != "POST":
            return await Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})(scope, receive, send)
        outcome = await self._take(Headers(scope=scope), receive)
        return None if outcome is None else await _answer(outcome)(scope, receive, send)

    async def _take(self, headers: Headers, receive: Receive) -> int | Refused | None:
        """None where nobody waits for an answer any more. Who is one too many is told so before the body is read."""
        if self.waiting >= MAX_WAITING:
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, Busy.code, f"at most {MAX_WAITING} waiting", str(self.waiting))
        self.waiting += 1
        try:
            body = await _body(headers, receive)
            return body if body is None or isinstance(body, Refused) else await self.add(body)
        finally:
            self.waiting -= 1


async def _body(headers: Headers, receive: Receive) -> bytes | Refused | None:
    """Refused where it is, or says it is, larger than an entry; None where it breaks off."""
    too_large = refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, EntryTooLarge.code, f"at most {MAX_ENTRY} bytes", "more")
    if (stated := headers.get("content-length", "0")).isdecimal() and int(stated) > MAX_ENTRY:
        return too_large
    received = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        received += message.get("body", b"")
        if len(received) > MAX_ENTRY:
            return too_large
        if not message.get("more_body", False):
            return bytes(received)


async def _file(path: Path, headers: dict[str, str]) -> Response:
    try:
        return Response(await run_in_threadpool(path.read_bytes), headers=headers)
    except FileNotFoundError:
        return _absent()


async def _nowhere(_: Request, __: Exception) -> Response:
    return _absent()


def _absent() -> Response:
    return Response("not there\n", HTTPStatus.NOT_FOUND, headers=_NOT_KEPT, media_type="text/plain")


def _answer(outcome: int | Refused) -> Response:
    if isinstance(outcome, int):
        return Response(b'{"index":%d}' % outcome, headers=_NOT_KEPT, media_type="application/json")
    is_busy = any(each["code"] == Busy.code for each in outcome.refusals)
    return _json(outcome.status, {"refusals": list(outcome.refusals)}, {"Retry-After": "1"} if is_busy else {})


def _json(status: HTTPStatus, content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(encode_json(content), status, headers={**_NOT_KEPT, **(headers or {})}, media_type="application/json")
