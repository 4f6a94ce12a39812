"""What a person sees while the bot runs: a live terminal view of the status record, or plain lines. Reads the record only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

STATE_STYLE = {
    "quoting": "bold green",
    "halted": "bold red",
    "failing": "bold red",
    "cooldown": "yellow",
    "stopping": "yellow",
}
LADDER_ROWS = 12
GENERATED = "generated market: a property of the generator, not a forecast"


def cents(price: float | None) -> str:
    return "–" if price is None else f"{price * 100:.1f}¢"


def number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


class LiveView:
    """The terminal view; `show` is called a few times a second, on a thread of its own."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._live = Live(console=console or Console(stderr=True), refresh_per_second=8, screen=False, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, record: Mapping[str, Any], fills: Iterable[Mapping[str, Any]]) -> None:
        self._live.update(render(self._title, record, list(fills)))


class PlainView:
    """One line when something changes and one every few seconds, for logs, pipes and services."""

    def __init__(self, every_s: float = 5.0, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._every_s = every_s
        self._next_s = 0.0
        self._state = ""
        self._last_fill_ns = -1
        self._settled = 0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, record: Mapping[str, Any], fills: Iterable[Mapping[str, Any]]) -> None:
        for fill in fills:
            if fill["at_ns"] > self._last_fill_ns:
                self._last_fill_ns = fill["at_ns"]
                self._console.print(
                    f"fill    {fill['side']:<4} {fill['qty']:g} at {cents(fill['px'])} ({fill['route']}) fair {cents(fill['fair'])}"
                )
        if record["state"] != self._state:
            self._state = record["state"]
            self._next_s = 0.0
        if record.get("uptime_s", 0.0) >= self._next_s:
            self._next_s = record.get("uptime_s", 0.0) + self._every_s
            self._console.print(plain_line(record))


def plain_line(record: Mapping[str, Any]) -> str:
    reasons = f" ({'; '.join(record['reasons'])})" if record.get("reasons") else ""
    parts = [f"{record.get('uptime_s', 0):6.1f}s {record['state']}{reasons}"]
    for market in record.get("markets", {}).values():
        if market.get("phase") in ("LIVE", "CLOSE", "OPEN_WAIT", "STOP"):
            parts.append(
                f"{market['slug']} {market['phase']} {number(market['seconds_left'], 0)}s fair {cents(market['fair'])} "
                f"ours {_quote(market)} book {cents(market['book_bid'])}/{cents(market['book_ask'])} net {market['position']['net']:g}"
            )
    orders, pnl = record.get("orders", {}), record.get("pnl_usd", {})
    if orders:
        parts.append(
            f"placed {orders.get('placed', 0)} filled {orders.get('filled', 0)} open {orders.get('open', 0)} pnl {pnl.get('total', 0):+.2f} USD"
        )
    return " | ".join(parts)


def explained(market: Mapping[str, Any]) -> list[str]:
    """Why a market's quotes are where they are: fair value, the parts of the spread, the skew, what moved each side."""
    quote = market.get("quote")
    if not quote:
        if market.get("strike_refused") is not None:
            return [f"strike {number(market['strike_refused'], 2)} refused: it contradicts our own mean"]
        return []
    taught = quote["fair"] - quote["p_model"]
    lines = [
        f"fair {cents(quote['fair'])} = model {cents(quote['p_model'])} {_signed(taught)} from the book "
        f"(others' microprice {cents(quote['micro'])})"
        + (", strike is our own reconstruction" if market.get("strike_is_ours") else "")
    ]
    if quote["bid"] is None or quote["ask"] is None:
        return lines
    toxic = (quote["delta_tox_bid"], quote["delta_tox_ask"])
    lines.append(
        f"half-spread {_pair(quote['half_spread_bid'], quote['half_spread_ask'])} = inventory {points(quote['delta_as'])}"
        f" + latency {points(quote['delta_lat'])} + model {points(quote['delta_mod'])}"
        f" + toxicity {_pair(*toxic)} - rebate {points(quote['delta_reb'])}, within its limits"
        + (", times 1.8: defensive" if quote["defensive"] else "")
        + f"; placed {points(quote['leeway'])} further out"
    )
    sides = [
        f"{side} {cents(quote[side]['px'])} (model's {cents(quote[side]['model_px'])}"
        + "".join(f", {word.replace('_', ' ')}" for word in quote[side]["moved_by"])
        + ")"
        for side in ("bid", "ask")
    ]
    lines.append(
        f"skew {_signed(-quote['skew'])} for net {market['position']['net']:+g}: around {cents(quote['reservation'])}; "
        + "; ".join(sides)
    )
    return lines


def untraded_lines(record: Mapping[str, Any]) -> list[str]:
    return [f"not traded: {slug}: {row['reason']}" for slug, row in record.get("untraded", {}).items()]


def points(value: float) -> str:
    return f"{100 * value:.2f}"


def _signed(value: float) -> str:
    return f"{100 * value + 0.0:+.2f}"  # no minus before nothing


def _pair(bid: float, ask: float) -> str:
    return points(bid) if bid == ask else f"{points(bid)}/{points(ask)}"


def _quote(market: Mapping[str, Any]) -> str:
    return "/".join(cents(market[side]["px"] if market.get(side) else None) for side in ("bid", "ask"))


def render(title: str, record: Mapping[str, Any], fills: list[Mapping[str, Any]]) -> RenderableType:
    state = record["state"]
    head = Text.assemble(
        (f" {state.upper()} ", f"{STATE_STYLE.get(state, 'cyan')} reverse"),
        f"  {record.get('uptime_s', 0):.0f} s  ",
        ("; ".join(record.get("reasons", [])), "yellow"),
    )
    parts: list[RenderableType] = [head]
    for market in record.get("markets", {}).values():
        if market.get("phase") not in (None, "PRE"):
            parts.append(_market(market))
    parts += [Text(line, style="yellow") for line in untraded_lines(record)]
    parts.append(Columns([_figures(record), _feeds(record)], expand=True))
    parts.append(_fills(record, fills))
    if record.get("mode") == "sim":
        parts.append(Text(f"PnL is from a {GENERATED}", style="dim"))
    return Panel(
        Group(*parts),
        title=title,
        border_style=STATE_STYLE.get(state, "cyan"),
        subtitle="Ctrl-C: cancel all, verify, stop",
    )


def _market(market: Mapping[str, Any]) -> RenderableType:
    fair, bid, ask = market.get("fair"), market.get("bid"), market.get("ask")
    title = (
        f"[bold]{market['slug']}[/]  {market['phase']}  {number(market['seconds_left'], 0)} s left  strike {number(market['strike'], 2)}"
        f"  spot {number(market.get('spot'), 2)}  {market.get('quote_mode') or ''} {' '.join(market.get('reasons', []))}"
    )
    table = Table(title=title, title_justify="left", expand=True, box=None, pad_edge=False)
    for column in ("", "bid", "fair", "ask"):
        table.add_column(column, justify="left" if not column else "right", ratio=1)
    table.add_row("ours", _leg(bid, "green"), Text(cents(fair), style="bold"), _leg(ask, "red"))
    table.add_row("book", cents(market["book_bid"]), "", cents(market["book_ask"]), style="dim")
    held = market["position"]
    table.add_row("held", f"{held['up']:g} Up", f"net {held['net']:+g}", f"{held['down']:g} Down")
    return Group(table, Text(_ruler(market), style="cyan"), *(Text(line, style="dim") for line in explained(market)))


def _leg(quote: Mapping[str, Any] | None, style: str) -> Text:
    return Text("–") if not quote else Text(f"{quote['size']:g} at {cents(quote['px'])}", style=style)


def _ruler(market: Mapping[str, Any], width: int = 72) -> str:
    """Prices from 0 to 1 on one line: [ ] the book, b a our quotes, * fair."""
    line = ["·"] * (width + 1)
    marks = [(market["book_bid"], "["), (market["book_ask"], "]"), (market.get("fair"), "*")]
    marks += [(market[side]["px"], name) for side, name in (("bid", "b"), ("ask", "a")) if market.get(side)]
    for price, mark in marks:
        if price is not None and 0 <= price <= 1:
            line[round(price * width)] = mark
    return "0 " + "".join(line) + " 1   [ ] book  b a ours  * fair"


def _figures(record: Mapping[str, Any]) -> RenderableType:
    table = Table(box=None, show_header=False)
    pnl, orders, latency = record.get("pnl_usd", {}), record.get("orders", {}), record.get("latency_us", {})
    table.add_row(
        "PnL",
        f"[bold]{pnl.get('total', 0):+.2f} USD[/]  spread {pnl.get('spread', 0):+.2f}  settlement {pnl.get('settlement', 0):+.2f}",
    )
    table.add_row(
        "orders",
        f"placed {orders.get('placed', 0)}  filled {orders.get('filled', 0)}  open {orders.get('open', 0)}  unknown {orders.get('unknown', 0)}",
    )
    wire = latency.get("tick_to_wire", {})
    table.add_row(
        "tick to wire",
        f"p50 {number(wire.get('p50'), 0)} µs  p99 {number(wire.get('p99'), 0)} µs  n {wire.get('n', 0)}",
    )
    figures = record.get("process", {})
    table.add_row(
        "process",
        f"{figures.get('rss_mb', 0)} MB  {figures.get('threads', 0)} threads  heartbeat {number(record.get('heartbeat', {}).get('age_ms'), 0)} ms",
    )
    return table


def _feeds(record: Mapping[str, Any]) -> RenderableType:
    table = Table(box=None, show_header=False)
    for name, feed in record.get("feeds", {}).items():
        up = feed.get("connected")
        table.add_row(
            name,
            Text("up" if up else "down", style="green" if up else "red"),
            f"{number(feed.get('age_ms'), 0)} ms",
            f"{feed.get('messages') or 0:,} frames",
        )
    return table


def _fills(record: Mapping[str, Any], fills: list[Mapping[str, Any]]) -> RenderableType:
    table = Table(
        title=f"fills: {sum(record.get('fills', {}).values())}",
        title_justify="left",
        box=None,
        show_header=False,
        expand=True,
    )
    for fill in list(fills)[-6:][::-1]:
        style = "green" if fill["side"] == "BUY" else "red"
        table.add_row(
            Text(fill["side"], style=style),
            f"{fill['qty']:g}",
            f"at {cents(fill['px'])}",
            f"fair {cents(fill['fair'])}",
            fill["route"],
            fill["slug"],
        )
    return table


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The end of a run in a few plain lines."""
    orders, events, pnl = summary.get("orders", {}), summary.get("user_events", {}), summary.get("pnl_usd", {})
    flat = "verified flat" if summary["flat_verified"] else "NOT verified flat"
    lines = [
        f"ran {summary.get('uptime_s', 0):.0f} s; end: {summary.get('reason') or 'unknown'}; {flat}, open orders at exit {summary['open_orders_at_exit']}"
        + (
            f", venue says {summary['venue_orders_at_exit']}" if summary.get("venue_orders_at_exit") is not None else ""
        ),
        f"orders placed {orders.get('placed', 0)}, filled {orders.get('filled', 0)}, rejected {orders.get('rejected', 0)}, unknown {orders.get('unknown', 0)}; "
        f"fills {summary.get('fills', {}).get('buy', 0)} buys {summary.get('fills', {}).get('sell', 0)} sells; user events lost {events.get('lost', 0)}",
    ]
    lines += [
        f"settled {row['slug']}: {row['outcome']}, net {row['net']:g} shares, {row['pnl_usd']:+.2f} USD"
        for row in summary.get("settled", [])
    ]
    note = f" ({GENERATED})" if summary.get("mode") == "sim" else ""
    lines.append(f"PnL {pnl.get('total', 0):+.2f} USD{note}")
    lines += [
        f"fault {row['id']} {row['count']}x, cost {row['cost_usd']:+.2f} USD: {'; '.join(row['answered'])}"
        for row in summary.get("faults", [])
    ]
    lines += [f"VIOLATION {row['invariant']}: {row['text']}" for row in summary.get("violations", [])]
    return lines
