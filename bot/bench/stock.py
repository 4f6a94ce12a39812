"""The vendor's client as users run it, in a process of its own: signing orders, and a whole pipeline of stock parts.

`python -m bot.bench.stock sign` signs as many orders as each line on standard input says, and prints one JSON line with
what each took and the posted texts. `python -m bot.bench.stock pipeline WS_URL REST_URL` posts an order for each frame
of the stream. With `BARE` in its environment it signs without coincurve, as after `pip install py-clob-client-v2`.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

KEY = (
    "0x" + "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
)  # of the test chains' well-known accounts
API_KEY = "00000000-0000-0000-0000-000000000001"
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PASSPHRASE = "0" * 64
CHAIN_ID = 137
TOKEN = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
TICK = "0.01"
BARE = {"ECC_BACKEND_CLASS": "eth_keys.backends.NativeECCBackend"}


class Stock:
    """Such a process. `bare`: without coincurve."""

    def __init__(self, *words: str, bare: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bot.bench.stock", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(BARE if bare else {})},
            text=True,
        )

    def ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def client(host: str) -> Any:
    from py_clob_client_v2 import ApiCreds, ClobClient

    return ClobClient(
        host, CHAIN_ID, key=KEY, creds=ApiCreds(api_key=API_KEY, api_secret=SECRET, api_passphrase=PASSPHRASE)
    )


def sign() -> None:
    """Until standard input ends."""
    from py_clob_client_v2 import CreateOrderOptions, OrderArgsV2
    from py_clob_client_v2.endpoints import POST_ORDER
    from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2

    stock = client("http://127.0.0.1")
    options = CreateOrderOptions(tick_size=TICK, neg_risk=False)
    rng = random.Random(1)
    for line in sys.stdin:
        took_ns, posted = [], []
        for _ in range(int(line)):
            arguments = OrderArgsV2(
                token_id=TOKEN, price=rng.randrange(1, 100) / 100, size=rng.randrange(500, 9_000) / 100, side=rng.choice(("BUY", "SELL"))
            )  # fmt: skip
            began_ns = time.perf_counter_ns()
            order = stock.builder.build_order(arguments, options, version=2)
            payload = order_to_json_v2(order, API_KEY, "GTC", True, False)
            text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
            stock._l2_headers("POST", POST_ORDER, body=payload, serialized_body=text)
            took_ns.append(time.perf_counter_ns() - began_ns)
            posted.append(text)
        sys.stdout.write(json.dumps({"took_ns": took_ns, "posted": posted}) + "\n")
        sys.stdout.flush()


def pipeline(ws_url: str, rest_url: str) -> None:
    """websocket-client and json, three pykka actors, the vendor's client and its httpx: what a reader of their manuals
    builds. The model is no more than a normal distribution; nothing is journaled, checked or logged, which favours it."""
    import pykka
    import websocket
    from py_clob_client_v2 import OrderArgsV2, PartialCreateOrderOptions

    class Gateway(pykka.ThreadingActor):
        def __init__(self) -> None:
            super().__init__()
            self._client = client(rest_url)

        def on_receive(self, message: Mapping[str, Any]) -> None:
            arguments = OrderArgsV2(token_id=TOKEN, price=message["price"], size=5.0, side="BUY")
            options = PartialCreateOrderOptions(tick_size=TICK, neg_risk=False)
            self._client.post_order(self._client.create_order(arguments, options), post_only=True)

    class Executor(pykka.ThreadingActor):
        def __init__(self, gateway: Any) -> None:
            super().__init__()
            self._gateway = gateway

        def on_receive(self, message: Mapping[str, Any]) -> None:
            self._gateway.tell({"price": message["bid"]})

    class Strategy(pykka.ThreadingActor):
        def __init__(self, executor: Any) -> None:
            super().__init__()
            self._executor = executor
            self._strike = 0.0

        def on_receive(self, message: Mapping[str, Any]) -> None:
            data = json.loads(message["frame"])["data"]
            mid = (float(data["b"]) + float(data["a"])) / 2
            self._strike = self._strike or mid
            fair = statistics.NormalDist().cdf((mid / self._strike - 1) / 4e-4)
            self._executor.tell({"bid": min(max(round(fair - 0.02, 2), 0.01), 0.99)})

    strategy = Strategy.start(Executor.start(Gateway.start()))
    websocket.WebSocketApp(ws_url, on_message=lambda _, frame: strategy.tell({"frame": frame})).run_forever()
    pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    sign() if sys.argv[1] == "sign" else pipeline(*sys.argv[2:])
