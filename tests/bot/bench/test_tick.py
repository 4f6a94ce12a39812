"""The processes beside the bot answer a frame of the reference exchange with an order."""

from __future__ import annotations

import orjson
import pytest

from bot.bench.tap import Tap
from bot.bench.tick import Peer

WAIT_S = 20.0


@pytest.mark.parametrize("module", ["bot.bench.echo", "bot.bench.skeleton"])
def test_each_frame_is_answered_with_one_request(tap: Tap, module: str) -> None:
    peer = Peer(tap, module)
    try:
        assert tap.run(WAIT_S, lambda: peer.ready)
        for number in range(3):
            peer.sample(number)
        assert [request.path for request in peer._posted] == ["/order"]
        if module.endswith("skeleton"):
            order = orjson.loads(peer._posted[0].body)["order"]
            assert order["tokenId"] == "7" * 77 and len(order["signature"]) == 132
        assert peer.round()["n"] > 0
    finally:
        peer.stop()
