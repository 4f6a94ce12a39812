"""JSON answers and refusals of the embedded venue's HTTP routes."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from bot.sim.venue import Request

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


def number(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query string."""
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise Refusal(f"invalid {name}: {text}") from None
