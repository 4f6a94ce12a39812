"""JSON answers and refusals of the embedded venue's HTTP routes."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson
from aiohttp import web

from bot.sim.venue import Request

FIRST_CURSOR, END_CURSOR = "MA==", "LTE="
LOGGED: web.RequestKey[Request] = web.RequestKey("logged", Request)  # the request's row in the log, on CLOB routes


class Refusal(Exception):
    """A request the venue refuses: its status and the text of {"error": text}."""

    def __init__(self, text: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.headers = headers


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


def refused(text: str, status: int, headers: dict[str, str] | None = None) -> web.Response:
    return answer({"error": text}, status, headers)


def wanted(request: web.Request, name: str) -> str:
    """A query parameter that must be there."""
    value = request.query.get(name, "")
    if not value:
        raise Refusal(f"{name} is required")
    return value


def page(rows: list[Any], cursor: str, size: int) -> dict[str, Any]:
    """One page of a list; a cursor is the base64 of an offset, that of the end of -1."""
    try:
        start = int(base64.b64decode(cursor or FIRST_CURSOR))
    except (binascii.Error, ValueError):
        raise Refusal("invalid next_cursor") from None
    end = start + size
    chosen = rows[start:end] if start >= 0 else []
    more = start >= 0 and end < len(rows)
    cursor = base64.b64encode(str(end).encode()).decode() if more else END_CURSOR
    return {"limit": size, "count": len(chosen), "next_cursor": cursor, "data": chosen}


def number(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query string."""
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise Refusal(f"invalid {name}: {text}") from None
