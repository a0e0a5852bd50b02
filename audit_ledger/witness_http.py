"""A witness over HTTP: `POST /add-checkpoint` and `GET /<hex SHA-256 of origin>/checkpoint`. C2SP tlog-witness 1.0.0.

Nobody is authenticated: a request is worth the log's signature in it. Bodies are read up to a limit; all work that
touches the disk runs in a thread.
"""

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audit_ledger.errors import WitnessStopped
from audit_ledger.witness_store import WitnessStore

MAX_BODY = 1 << 20  # 63 hashes and a note of a hundred signatures are below it


def witness_app(store: WitnessStore) -> Starlette:
    """The application; whoever serves it keeps and closes the store."""

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return Response(f"body is larger than {MAX_BODY} bytes\n", 400, media_type="text/plain")
        try:
            answer = await run_in_threadpool(store.add_checkpoint, body)
        except WitnessStopped:
            return Response("the witness has stopped\n", 503, media_type="text/plain")
        return Response(answer.body, answer.status, headers={"Content-Type": answer.media_type})

    async def checkpoint(request: Request) -> Response:
        note = await run_in_threadpool(store.checkpoint, request.path_params["origin_hash"])
        if note is None:
            return Response("nothing was cosigned for this origin\n", 404, media_type="text/plain")
        return Response(note, media_type="text/plain")

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/{origin_hash}/checkpoint", checkpoint, methods=["GET"]),
        ]
    )


async def _body(request: Request) -> bytes | None:
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > MAX_BODY:
            return None
    return bytes(received)
