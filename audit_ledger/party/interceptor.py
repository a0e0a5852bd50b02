"""No exception text reaches a peer: a failure is logged here under an incident number, and the other side gets only the number.

An uncaught error would send its text, and with it whatever value stood in it (spec of the link, 2). Aborts that a handler
made on purpose and cancellations pass through.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio
import structlog

_log = structlog.get_logger("link")
_PASSING = (grpc.aio.AbortError, asyncio.CancelledError)
_Context = grpc.aio.ServicerContext[Any, Any]


class Discreet(grpc.aio.ServerInterceptor):
    """Wraps every handler of a grpc.aio server."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler, method = await continuation(handler_call_details), str(handler_call_details.method)
        if handler is None:
            return None
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            inner = handler.stream_stream or handler.unary_stream
            wrapped: Any = _streaming(inner, method)
        else:
            make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
            inner = handler.stream_unary or handler.unary_unary
            wrapped = _single(inner, method)
        return cast(Any, make)(wrapped, handler.request_deserializer, handler.response_serializer)


def _single(inner: Callable[[Any, _Context], Awaitable[Any]], method: str) -> Callable[[Any, _Context], Awaitable[Any]]:
    async def call(request: Any, context: _Context) -> Any:
        try:
            return await inner(request, context)
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its text stays here
            await _abort(context, method, error)

    return call


def _streaming(inner: Callable[[Any, _Context], Any], method: str) -> Callable[[Any, _Context], AsyncIterator[Any]]:
    async def call(request: Any, context: _Context) -> AsyncIterator[Any]:
        try:
            replies = inner(request, context)
            if hasattr(replies, "__aiter__"):
                async for reply in replies:
                    yield reply
            else:
                await replies  # a handler that writes to the context itself
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its text stays here
            await _abort(context, method, error)

    return call


async def _abort(context: _Context, method: str, error: Exception) -> None:
    incident = secrets.token_hex(4)
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    line = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
    _log.error("call failed", incident=incident, method=method, error=type(error).__name__, place=line)
    await context.abort(grpc.StatusCode.INTERNAL, f"incident {incident}")
