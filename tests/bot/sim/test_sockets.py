"""Streaming clients: a slow one is cut off, a talkative one is noticed."""

from __future__ import annotations

from bot.sim.sockets import QUEUE_BYTES_MAX, QUEUE_MAX, FrameLimit, StreamClient


def test_a_client_that_does_not_read_is_cut_off_and_holds_no_more() -> None:
    for frame, count in (("x", QUEUE_MAX + 1), ("x" * 1_000_000, QUEUE_BYTES_MAX // 1_000_000 + 1)):
        client = StreamClient()
        for _ in range(count - 1):
            client.send(frame)
        assert not client.closing
        client.send(frame)
        assert client.closing
        client.send(frame)
        assert client.queued == 0


def test_the_frame_limit_counts_within_one_second() -> None:
    limit = FrameLimit(3)
    assert [limit.exceeded(now) for now in (1.0, 1.1, 1.2, 1.9, 2.95)] == [False, False, False, True, False]


def test_a_mute_client_queues_nothing_and_is_not_closed() -> None:
    client = StreamClient()
    client.mute = True
    client.send("x")
    client.close(1000)
    assert client.queued == 0
    assert not client.closing
