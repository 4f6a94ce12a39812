"""What the four feeds share: the part of a conversation that every stream has, with defaults. Knows no socket."""

from __future__ import annotations

from collections import deque

from bot.messages import FeedStatus, Message
from bot.units import Ns


class Conversation:
    """One stream's side of the conversation: `decode` updates caches and says what must be told to actors at once.

    `settle` follows the last frame of a burst: what only the newest state matters of is brought up to date, and told,
    once. What is put in `outbox` is sent after the current frame. `decode` raises FrameError for bytes that cannot be read at
    all, and `stale` says why a connection should be renewed although frames arrive.

    All methods are called by the Reader's thread, except `bootstrap`, during which the Reader calls nothing else that
    touches what `bootstrap` touches.
    """

    name: str
    ping_text: str | None = None
    ping_every_s = 4.0  # two lost answers before the silence below
    silence_max_s = 10.0
    message_bytes_max = 8 * 1024 * 1024
    gives_way = False  # within a burst other threads go first now and then: nothing of this stream is urgent

    def __init__(self) -> None:
        self.outbox: deque[str] = deque()

    def url(self) -> str:
        """Asked before each attempt; an empty text means that there is nothing to listen to yet."""
        raise NotImplementedError

    def opening(self) -> list[str]:
        return []

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        raise NotImplementedError

    def settle(self, now_ns: Ns) -> list[Message]:
        return []

    def connected(self, now_ns: Ns) -> list[Message]:
        return [FeedStatus(feed=self.name, connected=True, now_ns=now_ns)]

    def lost(self, reason: str, now_ns: Ns) -> list[Message]:
        return [FeedStatus(feed=self.name, connected=False, text=reason, now_ns=now_ns)]

    def command(self, message: Message) -> list[str]:
        return []

    def stale(self, now_ns: Ns) -> str | None:
        return None

    def bootstrap(self) -> None:
        """Blocking preparation before a connection is made, on the thread that connects."""

    def rotate(self, now_ns: Ns) -> bool:
        """True once when a second connection should be made and, when it is fresh, take over from this one."""
        return False

    def counters(self) -> dict[str, int]:
        """What this feed counts, for the status record."""
        return {}
