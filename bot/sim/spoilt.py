"""Answers as a venue gives them on a bad day: its words, and what becomes of good answers on their way. Knows no fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
from aiohttp import web

from bot.sim.clob_rest import Posted
from bot.sim.http import answer, refused

BAD_GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)
BLOCKED = (
    "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head>"
    "<body><h1>Sorry, you have been blocked</h1><p>You are unable to access polymarket.com</p></body></html>"
)
POST_ONLY_MODE = "post-only mode: only post-only orders and cancels are allowed"
CANCEL_ONLY = "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
GEOBLOCKED = "Trading restricted in your region, please refer to available regions"
WRONG_VERSION = "order_version_mismatch"
NO_BALANCE = "not enough balance / allowance: the balance is not enough"

_one = msgspec.json.Decoder(Posted)
_many = msgspec.json.Decoder(list[Posted])


class Passes(Exception):
    """This fault leaves the request to its handler."""


def cut(request: web.Request) -> web.Response:
    """Reset the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return nothing()


def nothing() -> web.Response:
    return web.Response(status=0)


def html(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html")


def posted_in(body: bytes) -> list[Posted]:
    """The orders of a POST. Raises Passes when its handler has to refuse it."""
    try:
        return _many.decode(body) if body.lstrip()[:1] == b"[" else [_one.decode(body)]
    except msgspec.DecodeError:
        raise Passes from None


def declined(request: web.Request, texts: list[str], status: int) -> web.Response:
    """A refusal of one order, or of each leg of a batch."""
    legs = [{"success": False, "errorMsg": text, "orderID": "", "status": ""} for text in texts]
    if request.path == "/orders":
        return answer(legs)
    return answer(legs[0]) if status == 200 else refused(texts[0], status)


def body_of(response: web.StreamResponse) -> Any:
    if not isinstance(response, web.Response) or response.status != 200 or not isinstance(response.body, bytes):
        return None
    return orjson.loads(response.body)


def changed(response: web.StreamResponse, change: Callable[[Any], Any]) -> web.StreamResponse:
    """A good answer with another body."""
    body = body_of(response)
    if body is not None and isinstance(response, web.Response):
        response.body = orjson.dumps(change(body))
    return response


def legs_changed(body: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    return [change(leg) for leg in body] if isinstance(body, list) else change(body)


def unmatched(leg: dict[str, Any]) -> dict[str, Any]:
    return {**leg, "status": "unmatched"} if leg["status"] == "delayed" else leg


def unsuccessful(leg: dict[str, Any]) -> dict[str, Any]:
    return {**leg, "success": False} if leg["errorMsg"] == POST_ONLY_MODE else leg


def duplicated(response: web.StreamResponse) -> web.StreamResponse:
    """The answer of a second copy, where the first was accepted."""
    body = body_of(response)
    if isinstance(body, list):
        return changed(response, lambda legs: [duplicate(leg) for leg in legs])
    if not isinstance(body, dict) or not body.get("orderID"):
        return response
    return refused(duplicate(body)["errorMsg"], 400)


def duplicate(leg: dict[str, Any]) -> dict[str, Any]:
    if not leg["orderID"]:
        return leg
    return {**leg, "errorMsg": f"order {leg['orderID']} is invalid. Duplicated.", "orderID": "", "status": ""}


def reasoned(body: Any, text: str) -> Any:
    return {**body, "not_canceled": dict.fromkeys(body["not_canceled"], text)}


def prefixed(body: Any, subject: str) -> Any:
    """Statuses with the prefix that some of the venue's servers write."""
    prefix = "TRADE_STATUS_" if "/trades" in subject else "ORDER_STATUS_"
    if isinstance(body, dict) and "data" in body:
        return {**body, "data": [{**row, "status": prefix + row["status"]} for row in body["data"]]}
    return {**body, "status": prefix + body["status"]} if isinstance(body, dict) and "status" in body else body


def without_newest(body: Any) -> Any:
    """A list, newest first, that does not know the newest yet."""
    return {**body, "data": body["data"][1:]} if isinstance(body, dict) and "data" in body else body


def loaded(body: bytes) -> Any:
    """The JSON of a request, None where there is none to be understood."""
    try:
        return orjson.loads(body)
    except ValueError:
        return None
