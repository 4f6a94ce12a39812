"""A small stream server of our own on the loopback, and Readers of it that remember what they delivered."""

from __future__ import annotations

import base64
import hashlib
import queue
import socket
import threading

from bot.errors import FrameError
from bot.messages import Message, Nudge
from bot.units import Ns
from bot.venues.conversation import Conversation
from bot.venues.websocket import Reader

WAIT_S = 5.0
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Session:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self.path = ""
        self.greeting = b""  # in one piece with the answer to the handshake
        self.received: queue.Queue[tuple[int, bytes]] = queue.Queue()

    def handshake(self) -> bool:
        lines = []
        while (line := self._file.readline().strip()) != b"":
            lines.append(line.decode())
        if not lines:
            return False
        self.path = lines[0].split()[1]
        key = next(line.split(": ")[1] for line in lines if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self._sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + self.greeting
        )
        return True

    def listen(self) -> None:
        """Frames of the client (all short) until it goes."""
        try:
            while len(head := self._file.read(2)) == 2:
                size = head[1] & 0x7F
                if size == 126:
                    size = int.from_bytes(self._file.read(2), "big")
                mask = self._file.read(4)
                masked = self._file.read(size)
                payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(masked))
                self.received.put((head[0] & 0x0F, payload))
        except OSError:
            pass
        self.received.put((-1, b""))

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
        self.raw(bytes([0x80 | opcode]) + size + payload)

    def raw(self, data: bytes) -> None:
        self._sock.sendall(data)

    def next(self) -> tuple[int, bytes]:
        return self.received.get(timeout=WAIT_S)

    def reset(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)


class Venue:
    """Accepts connections and hands out their sessions in order; refuses while `refusing` is set."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/ws"
        self.sessions: queue.Queue[Session] = queue.Queue()
        self.greeting = b""
        self.refusing = False
        self.refused = threading.Semaphore(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                sock.close()
                self.refused.release()
            else:
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        session = Session(sock)
        session.greeting = self.greeting
        if session.handshake():
            self.sessions.put(session)
            session.listen()

    def session(self) -> Session:
        return self.sessions.get(timeout=WAIT_S)

    def close(self) -> None:
        self._listener.close()


class Talk(Conversation):
    """Remembers what it was told; decodes every text into a Nudge whose cause is the number in it."""

    name = "talk"

    def __init__(self, url: str, opening: list[str] | None = None) -> None:
        super().__init__()
        self.address = url
        self.first = ["hello"] if opening is None else opening
        self.reasons: queue.Queue[str] = queue.Queue()
        self.stale_reason: str | None = None
        self.renew = False
        self.prepared = 0

    def url(self) -> str:
        return self.address

    def opening(self) -> list[str]:
        return self.first

    def bootstrap(self) -> None:
        self.prepared += 1

    def decode(self, frame: bytes, now_ns: Ns) -> list[Message]:
        if frame == b"boom":
            raise ZeroDivisionError("boom")
        if frame == b"noise":
            raise FrameError("noise")
        if frame == b"leave":
            self.renew = True
            return []
        if frame == b"ask":
            self.outbox.append("answer")
            return []
        return [Nudge(cause_ns=int(frame))]

    def command(self, message: Message) -> list[str]:
        self.address = self.address or message.name  # type: ignore[attr-defined]
        return ["commanded"]

    def lost(self, reason: str, now_ns: Ns) -> list[Message]:
        self.reasons.put(reason)
        return super().lost(reason, now_ns)

    def stale(self, now_ns: Ns) -> str | None:
        reason, self.stale_reason = self.stale_reason, None
        return reason

    def rotate(self, now_ns: Ns) -> bool:
        renew, self.renew = self.renew, False
        return renew


class Desk:
    """A Reader and the messages it delivered."""

    def __init__(self, talk: Talk, jitter: float = 0.0) -> None:
        self.talk = talk
        self.told: queue.Queue[Message] = queue.Queue()
        self.frames: list[Ns] = []
        self.reader = Reader(talk, self._deliver, jitter=lambda: jitter, on_frame=self.frames.append)

    def _deliver(self, messages: list[Message]) -> None:
        for message in messages:
            self.told.put(message)

    def next(self) -> Message:
        return self.told.get(timeout=WAIT_S)

    def reason(self) -> str:
        return self.talk.reasons.get(timeout=WAIT_S)


def start(desks: list[Desk], talk: Talk, jitter: float = 0.0) -> Desk:
    desk = Desk(talk, jitter)
    desks.append(desk)
    desk.reader.start()
    return desk
