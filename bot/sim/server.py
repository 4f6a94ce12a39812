"""The embedded venue: exchange, generated world and the venues' protocols on one loopback port, in a process of its own.

`serve` runs it until told to stop, `VenueThread` runs it beside a test. A loop every 10 ms lets the world and the
exchange catch up with the clock and sends what happened; a process that was stopped jumps over what it missed.
Nothing here matches, prices or verifies: see exchange, market and verify.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
from aiohttp import web

from bot.errors import SettingsError
from bot.sim import state, verify
from bot.sim.accounts import Accounts
from bot.sim.addresses import Addresses
from bot.sim.binance_api import BinanceApi
from bot.sim.binance_futures import FuturesApi
from bot.sim.clob_account import AccountRoutes
from bot.sim.clob_public import PublicRoutes
from bot.sim.clob_rest import OrderRoutes
from bot.sim.clob_streams import MarketStream
from bot.sim.connection_faults import ConnectionFaults
from bot.sim.control_api import ControlRoutes
from bot.sim.data_api import DataRoutes
from bot.sim.exchange import Exchange
from bot.sim.faults import Fault, Faults
from bot.sim.gamma import GammaRoutes
from bot.sim.http import LOGGED, Refusal, refused
from bot.sim.live_stream import LiveStream
from bot.sim.load import Load
from bot.sim.market import World, WorldParameters
from bot.sim.mishaps import Flurry
from bot.sim.outage import Outage
from bot.sim.prices import BinanceQuote, BinanceTrade
from bot.sim.provoked import Stranger
from bot.sim.quirks import Quirks
from bot.sim.recordings import REFERENCE, Recordings
from bot.sim.rest_faults import RestFaults
from bot.sim.rewards import RewardRoutes
from bot.sim.rtds import Rtds
from bot.sim.sockets import TAP
from bot.sim.stream_faults import StreamFaults
from bot.sim.tape import Tape
from bot.sim.user_stream import UserStream
from bot.sim.venue import FUNDS, Venue, wall_ms
from bot.sim.venue_faults import VenueFaults

T = TypeVar("T")
HOST = "127.0.0.1"
STEP_S = 0.010
SAVE_EVERY_S = 3.0
GOODBYE_S = 0.02  # for close frames to leave before the sockets are cut
BODY_MAX = 4 << 20
KEEPALIVE_S = 300.0
EDGE_REFUSAL = "error code: 1015"
AGENT_REFUSAL = "error code: 1010"
LIBRARY_AGENTS = ("python-requests/", "python-httpx/", "python-urllib/", "python/")
BESIDE_EDGE = ("/binance/", "/binance-futures/", "/control/")
BESIDE_CLOB = ("/gamma/", "/data-api/", "/binance/", "/binance-futures/", "/control/", "/ws/", "/live/", "/rtds")
CLOB_STREAMS = ("/ws/market", "/ws/user")
PROTOCOLS = (1, 2, 3)


class VenueOptions(msgspec.Struct, kw_only=True):
    """How to run the venue. `seed` None: a random one; `signature_type` says how the funded test wallet trades."""

    port: int = 0
    seed: int | None = None
    series: tuple[str, ...] = ("btc-updown-5m",)
    protocol: int = 2
    aligned: bool = False
    state: Path | None = None
    until_stdin_closes: bool = False
    parameters: WorldParameters = WorldParameters()
    signature_type: int = 0
    enforce_rates: bool = False  # refuse what is over the trading budget with 429
    faults: tuple[Fault, ...] = ()
    quirks: Quirks = Quirks()
    load: float = 0.0  # market frames a second, beside what the world brings
    recordings: tuple[
        Path, ...
    ] = ()  # told on the streams they were made of, beside the world or (Binance) in its place
    recording_speed: float = 1.0
    log: Callable[[str], None] | None = None  # gets one line for each thing worth a line


class Server:
    """Everything of one venue, from options to answers."""

    def __init__(self, options: VenueOptions) -> None:
        if options.protocol not in PROTOCOLS:
            raise SettingsError(f"protocol {options.protocol} is unknown: want 1, 2 or 3")
        self.options = options
        self._log = options.log or (lambda line: None)
        kept = state.load(options.state)
        key_seed = kept.get("seed", options.seed)
        self.seed = options.seed if options.seed is not None else kept.get("seed", secrets.randbelow(2**31))
        self._key_seed = self.seed if key_seed is None else key_seed
        accounts = Accounts(self._key_seed)
        faults = Faults(self.seed, options.faults)
        exchange = Exchange(salt=uuid.uuid4().hex)  # no trade has the id of one of an earlier run
        self.venue = Venue(exchange, accounts, options.protocol, options.enforce_rates, faults, options.quirks)
        self.venue_id = kept.get("venue_id") or str(uuid.uuid4())
        self.private_key = accounts.private_key()
        self.address = state.wallet_address(self.private_key)
        self.funder = accounts.funder_for(options.signature_type, self.address)
        if kept:
            accounts.restore(kept["accounts"])
            self.venue.restore(kept["owners"])
        else:
            self.venue.exchange.deposit(self.funder, FUNDS)
        accounts.register_funder(accounts.open(self.address), options.signature_type, self.funder)
        accounts.create_key(self.address, 0)
        self._background: list[asyncio.Task[None]] = []
        self._streams_back_ms = 0
        self._build()

    def _build(self) -> None:
        venue = self.venue
        assets = dict.fromkeys(name.split("-")[0] for name in self.options.series)
        self.outage = Outage()
        stranger = Stranger(venue)
        tap = StreamFaults(venue, stranger)
        connection_faults = ConnectionFaults(venue, tap, stranger, self.outage)
        rest_faults, _ = RestFaults(venue), VenueFaults(venue)
        self._market, self._user = MarketStream(venue), UserStream(venue)
        self.load = Load(venue, self._market, self.seed)
        self._live, self._rtds = LiveStream(venue), Rtds(venue)
        symbols = [asset.upper() + "USDT" for asset in assets]
        self._binance, self._futures = BinanceApi(venue, symbols), FuturesApi(venue, symbols)
        self._recordings = Recordings(self.options.recordings, self.options.recording_speed)
        self._binance.live = REFERENCE not in self._recordings.tracks
        tape = Tape(venue.exchange.markets)
        venue.listeners = [self._market.hear, self._user.hear, tape.hear]
        venue.flushers = [self._market.flush]
        around = [self._guard, rest_faults.around, connection_faults.around]
        self.app = web.Application(middlewares=around, client_max_size=BODY_MAX)
        self.app[TAP] = tap
        for routes in (
            PublicRoutes(venue).routes(),
            AccountRoutes(venue).routes(),
            OrderRoutes(venue).routes(),
            RewardRoutes(venue, tape).routes(),
            GammaRoutes(venue).routes("/gamma"),
            DataRoutes(venue, tape).routes("/data-api"),
            self._binance.routes("/binance"),
            self._futures.routes("/binance-futures"),
            ControlRoutes(venue).routes(),
            self.load.routes(),
            self._recordings.routes(),
            [
                web.get("/ws/market", self._market.connect),
                web.get("/ws/user", self._user.connect),
                web.get("/live/ws", self._live.connect),
                web.get("/rtds", self._rtds.connect),
            ],
        ):
            self.app.add_routes(routes)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:  # every request passes here
        if not self.outage.admit(request):
            return web.Response(status=503)
        if request.path in CLOB_STREAMS and wall_ms() < self._streams_back_ms:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        agent = request.headers.get("User-Agent", "").lower()
        unwelcome = self.options.quirks.agents_refused and agent.startswith(LIBRARY_AGENTS)
        if unwelcome and not request.path.startswith(BESIDE_EDGE):
            return web.Response(status=403, text=AGENT_REFUSAL)
        row = None
        if not request.path.startswith(BESIDE_CLOB):
            row = request[LOGGED] = self.venue.log(request.method, request.path)
        try:
            if self.options.quirks.ip_limits != "off":
                await self._limit(request)
            response: web.StreamResponse = await handler(request)
        except Refusal as refusal:
            response = refused(refusal.text, refusal.status, refusal.headers)
        except web.HTTPTooManyRequests as error:  # of the edge, which speaks no JSON
            response = web.Response(text=error.text, status=error.status, headers=error.headers)
        except web.HTTPException as error:
            response = refused(error.reason.lower(), error.status)
        except Exception:
            if row is not None:
                row.status = 500
            raise
        if row is not None:
            row.status = response.status
        return response

    async def _limit(self, request: web.Request) -> None:
        """Hold back what one address asks too much, or raise Refusal."""
        mode, address = self.options.quirks.ip_limits, request.remote or ""
        wait_s = self.venue.addresses.wait_s(address, request.method, request.path, time.monotonic())
        if not wait_s:
            return
        if mode == "delay":
            await asyncio.sleep(wait_s)
        elif mode == "429":
            raise Refusal("Too Many Requests", 429, Addresses.retry_after(wait_s))
        else:
            raise web.HTTPTooManyRequests(text=EDGE_REFUSAL, headers=Addresses.retry_after(wait_s))

    # -- life -----------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Bound, listed and stepping; yields the venue's info. Raises SettingsError for a port in use."""
        runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=0.5, keepalive_timeout=KEEPALIVE_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self.options.port)
            try:
                await site.start()
            except OSError as error:
                reason = error.strerror or error
                raise SettingsError(f"cannot listen on {HOST} port {self.options.port}: {reason}") from error
            assert runner.server is not None
            self.outage.connections = lambda: runner.server.connections if runner.server is not None else ()
            port = runner.addresses[0][1]
            self._start_world()
            self.venue.info = self._info(port)
            self.load.start(self.options.load)
            self._background = [asyncio.create_task(self._run()), asyncio.create_task(self.load.run())]
            for kind in self._recordings.tracks:
                listeners = self._binance if kind == REFERENCE else self._market
                self._background.append(asyncio.create_task(self._recordings.run(kind, listeners)))
            if self.options.state is not None:
                self._background.append(asyncio.create_task(self._keep_saving()))
            self._log(f"venue {self.venue_id} serves on {HOST} port {port}, seed {self.seed}")
            yield self.venue.info
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            self.save()
            self._live.drain()
            await asyncio.sleep(GOODBYE_S)
            for connection in self.outage.connections():
                if connection.transport is not None:
                    connection.transport.abort()  # whoever still listens would hold up the end
            await runner.cleanup()

    def _start_world(self) -> None:
        """As late as can be, since the first window's start is counted from here, and so are the faults."""
        self.venue.world = World(
            self.venue.exchange,
            seed=self.seed,
            series=self.options.series,
            start_ms=wall_ms(),
            aligned=self.options.aligned,
            parameters=self.options.parameters,
            protocol=self.options.protocol,
        )
        for market in self.venue.exchange.markets.values():
            self._live.offer(market.asset, market.window_s)
            self._rtds.offer(market.asset, market.window_s)
        self.venue.tell()
        self.venue.started_ns = time.monotonic_ns()

    async def _run(self) -> None:
        """Catch up with the clock, send what happened, sleep. A failure here ends the venue: half a venue misleads."""
        assert self.venue.world is not None
        while True:
            now_ms = wall_ms()
            for event in self.venue.world.step(now_ms):
                if isinstance(event, BinanceQuote | BinanceTrade):
                    self._binance.hear(event)
                    self._futures.hear(event)
                else:
                    self._live.hear(event)
                self._rtds.hear(event)
            self._go_wrong()
            self.venue.step(now_ms)
            self.venue.faults.advance(self.venue.age_s())
            self._binance.tick(now_ms)
            self._futures.tick(now_ms)
            await asyncio.sleep(STEP_S)

    def _go_wrong(self) -> None:
        """What the world does to the streams by itself: bursts of frames, and cuts of the two of the CLOB."""
        assert self.venue.world is not None
        for mishap in self.venue.world.take_mishaps():
            if isinstance(mishap, Flurry):
                lasts_s = (mishap.until_ms - mishap.ts_ms) / 1000
                self.load.burst(mishap.asset, mishap.per_s, lasts_s, self.options.parameters.flurry_books)
            else:
                self._streams_back_ms = mishap.until_ms
                self._market.cut()
                self._user.cut()

    async def failed(self) -> None:
        """Returns when one of its tasks failed; raises what ended it. Recordings end by themselves, the rest never does."""
        done, _ = await asyncio.wait(self._background, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    def _info(self, port: int) -> dict[str, Any]:
        http, ws = f"http://{HOST}:{port}", f"ws://{HOST}:{port}"
        credentials = self.venue.accounts.open(self.address).keys[0]
        return {
            "url": http,
            "rest_url": http,
            "gamma_url": http + "/gamma",
            "data_url": http + "/data-api",
            "market_ws_url": ws + "/ws/market",
            "user_ws_url": ws + "/ws/user",
            "settlement_ws_url": ws + "/live/ws",
            "rtds_ws_url": ws + "/rtds",
            "binance_ws_url": ws + "/binance",
            "binance_rest_url": http + "/binance",
            "binance_futures_ws_url": ws + "/binance-futures",
            "binance_futures_rest_url": http + "/binance-futures",
            "private_key": self.private_key,
            "address": self.address,
            "api_key": credentials.api_key,
            "api_secret": credentials.secret,
            "api_passphrase": credentials.passphrase,
            "venue_id": self.venue_id,
            "ready_monotonic_ns": self.venue.started_ns,
            "pid": os.getpid(),
            "seed": self.seed,
            "series": list(self.options.series),
            "protocol": self.options.protocol,
            "chain_id": verify.CHAIN_ID,
            "funder": self.address if self.options.signature_type == 0 else self.funder,
            "signature_type": self.options.signature_type,
        }

    # -- what outlives it -------------------------------------------------------------------------------------------------

    async def _keep_saving(self) -> None:
        while True:
            self.save()
            await asyncio.sleep(SAVE_EVERY_S)

    def save(self) -> None:
        if self.options.state is None:
            return
        record = {
            "venue_id": self.venue_id,
            "seed": self._key_seed,
            "accounts": self.venue.accounts.record(),
            "owners": self.venue.record(),
        }
        state.save(self.options.state, record)


async def _serve(server: Server, announce: Callable[[dict[str, Any]], None], stop: asyncio.Event) -> None:
    async with server.running() as info:
        announce(info)
        # Loaded beside the first requests, which would otherwise pay for it.
        threading.Thread(target=verify.warm, name="venue-warm", daemon=True).start()
        waiting = {asyncio.create_task(stop.wait()), asyncio.create_task(server.failed())}
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        for task in done:
            task.result()


def serve(options: VenueOptions, announce: Callable[[dict[str, Any]], None]) -> None:
    """Run a venue until SIGTERM, SIGINT, or (when asked) the end of standard input. Raises SettingsError."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if options.until_stdin_closes:
            threading.Thread(target=_watch_stdin, args=(loop, stop), name="venue-stdin", daemon=True).start()
        await _serve(Server(options), announce, stop)

    asyncio.run(main())


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The parent holds the other end: whatever ends it, closes it."""
    try:
        while os.read(sys.stdin.fileno(), 4096):
            pass
    except OSError:
        pass  # not readable at all is as good as closed
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(stop.set)


class VenueThread:
    """A venue in a thread, for tests: `with VenueThread(VenueOptions(seed=1)) as venue: venue.info["url"]`."""

    def __init__(self, options: VenueOptions | None = None, start_timeout_s: float = 20.0) -> None:
        self._options = options or VenueOptions(seed=1)
        self._start_timeout_s = start_timeout_s
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="venue", daemon=True)
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._server: Server | None = None
        self.info: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        started = self._ready.wait(self._start_timeout_s)
        if self._error is not None:
            raise self._error
        assert started, "the venue did not start in time"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and wait; stopping twice does nothing. Raises what broke it meanwhile."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10.0)
        if self._error is not None:
            raise self._error

    def call(self, function: Callable[[Venue], T]) -> T:
        """Run a function on the venue's own thread, as a test's hand inside: fund a wallet, close a market."""
        server, loop = self._server, self._loop
        assert server is not None
        assert loop is not None

        async def inside() -> T:
            result = function(server.venue)
            server.venue.tell()
            return result

        return asyncio.run_coroutine_threadsafe(inside(), loop).result(10.0)

    def _announced(self, info: dict[str, Any]) -> None:
        self.info = info
        self._ready.set()

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._server = Server(self._options)
            await _serve(self._server, self._announced, self._stop)

        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
            self._error = error
        finally:
            self._ready.set()
