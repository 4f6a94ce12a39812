"""The journal's bytes: what a segment is made of, how a record is written and read. Knows no file and no core.

A segment starts with MAGIC and is then a row of frames:

    marker (2 bytes)  length (4, of the payload)  crc32 (4, of the payload)  payload

The first byte of a payload says its kind: H start of the segment (always and only the first), F one handled message with
what it emitted, T a timer tick and I a refreshed intent that emitted nothing. The end of a segment may be torn, and is
cut; damage before a readable frame is refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any

import msgspec

import bot.messages as vocabulary
from bot.errors import JournalError, OtherBuild
from bot.execution.budget import Rates
from bot.execution.risk import Limits
from bot.execution.timers import Timers
from bot.messages import Message, QuoteIntent, TimerTick
from bot.units import Ns

FORMAT = 2
MAGIC = b"CLOBJRNL"
MARKER = b"\xc1\xb0"
HEAD = struct.Struct(">2sII")
TICK = struct.Struct(">cQqqq")
FRAME_BYTES_MAX = 256 << 20  # a snapshot is the largest

_TYPES = [
    kind
    for kind in vars(vocabulary).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
ANY_MESSAGE: Any = reduce(or_, _TYPES)


class Wallet(msgspec.Struct, frozen=True, kw_only=True):
    """What the id of an order depends on beside the order itself: public facts."""

    chain_id: int
    funder: str
    signer: str  # address of the key
    signature_type: int


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's executor was made with. Its salts count up from `salt_base`, which no other run may use."""

    salt_base: int = 0
    started_utc_ns: Ns = 0
    build: str = ""  # of the program: another may answer the same messages otherwise
    boot: str = ""  # of the machine: another's monotonic clock says nothing here
    ahead_ns: Ns = 0  # the run's clock minus this boot's
    continues: bool = False  # took up the state that the record before it left; else it began anew
    clean_start: bool = True
    limits: Limits = Limits()
    timers: Timers = Timers()
    rates: Rates = Rates()
    wallet: Wallet | None = None


class SegmentStart(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of a segment: whose it is, and the snapshot that stands for everything before it."""

    format: int = FORMAT
    run: Run
    segment: int
    first_seq: int
    snapshot: bytes


class Record(msgspec.Struct, frozen=True):
    """One handled message and, as bytes, what the core emitted for it."""

    seq: int
    now_ns: Ns
    message: Message
    said: bytes

    @property
    def emitted(self) -> tuple[Message, ...]:
        """Raises OtherBuild for messages that this program has no words for."""
        try:
            return _said.decode(self.said)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise OtherBuild(f"what record {self.seq} emitted cannot be read: {error}") from error


class _Format(msgspec.Struct):
    format: int


_encoder = msgspec.msgpack.Encoder()
_said = msgspec.msgpack.Decoder(tuple[ANY_MESSAGE, ...])
_records = msgspec.msgpack.Decoder(tuple[int, int, ANY_MESSAGE, msgspec.Raw])
_formats = msgspec.msgpack.Decoder(_Format)
_starts = msgspec.msgpack.Decoder(SegmentStart)
_intent_fields = msgspec.structs.fields(QuoteIntent)
_intents: Any = msgspec.msgpack.Decoder(tuple.__class_getitem__((int, int, *(field.type for field in _intent_fields))))
_intent_names = QuoteIntent.__struct_fields__
NOTHING = _encoder.encode(())


# -- writing -------------------------------------------------------------------------------------------------------


def frame(payload: bytes) -> bytes:
    return HEAD.pack(MARKER, len(payload), zlib.crc32(payload)) + payload


def start_payload(start: SegmentStart) -> bytes:
    return b"H" + _encoder.encode(start)


def record_payload(seq: int, now_ns: Ns, message: Message, emitted: Sequence[Message]) -> bytes:
    if not emitted:
        if type(message) is TimerTick:
            return TICK.pack(b"T", seq, now_ns, message.now_ns, message.utc_ns) + message.name.encode()
        if type(message) is QuoteIntent:
            return b"I" + _encoder.encode((seq, now_ns, *msgspec.structs.astuple(message)))
    return b"F" + _encoder.encode((seq, now_ns, message, emitted))


def said(emitted: Sequence[Message]) -> bytes:
    """What a core emitted, as a record holds it."""
    return _encoder.encode(emitted) if emitted else NOTHING


# -- reading -------------------------------------------------------------------------------------------------------


def frames(data: bytes, name: str) -> Iterator[tuple[int, int, bytes]]:
    """Offset, end and payload of each whole frame of a segment. A torn tail ends it; raises JournalError, with the
    segment's name, for damage before the end."""
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data) or _readable_after(data, 0) < 0:
            return
        raise JournalError(f"{name}: not a journal, or damaged at offset 0")
    offset = len(MAGIC)
    while offset < len(data):
        payload = _payload_at(data, offset)
        if payload is None:
            found = _readable_after(data, offset + 1)
            if found >= 0:
                raise JournalError(f"{name}: damaged at offset {offset}, readable again at {found}")
            return
        end = offset + HEAD.size + len(payload)
        yield offset, end, payload
        offset = end


def _payload_at(data: bytes, offset: int) -> bytes | None:
    begin = offset + HEAD.size
    if begin > len(data):
        return None
    marker, length, crc = HEAD.unpack_from(data, offset)
    if marker != MARKER or not 0 < length <= FRAME_BYTES_MAX or begin + length > len(data):
        return None
    payload = data[begin : begin + length]
    return payload if zlib.crc32(payload) == crc else None


def _readable_after(data: bytes, offset: int) -> int:
    """Where a whole frame begins at or after an offset, or -1: tells damage in the middle from a torn tail."""
    while (offset := data.find(MARKER, offset)) >= 0:
        if _payload_at(data, offset) is not None:
            return offset
        offset += 1
    return -1


def items(data: bytes, name: str) -> Iterator[SegmentStart | Record]:
    """What a segment holds; nothing where not even its start is whole. Raises JournalError for damage and for a
    sequence with a hole, OtherBuild for what is whole and still cannot be read."""
    expected = 0
    for offset, _, payload in frames(data, name):
        item = _item_at(offset, payload, name)
        if isinstance(item, SegmentStart) == bool(expected):
            raise JournalError(f"{name}: the frame at offset {offset} is out of place")
        if isinstance(item, SegmentStart):
            expected = item.first_seq
        elif item.seq != expected:
            raise JournalError(f"{name}: record {item.seq} at offset {offset} where {expected} should follow")
        else:
            expected += 1
        yield item


def start_of(payload: bytes, name: str) -> SegmentStart:
    """The first payload of a segment. Raises as `items` does."""
    item = _item_at(len(MAGIC), payload, name)
    if not isinstance(item, SegmentStart):
        raise JournalError(f"{name}: the frame at offset {len(MAGIC)} is out of place")
    return item


def _item_at(offset: int, payload: bytes, name: str) -> SegmentStart | Record:
    try:
        return _item(payload)
    except (msgspec.MsgspecError, struct.error, UnicodeDecodeError) as error:
        raise OtherBuild(f"{name}: the record at offset {offset} cannot be read: {error}") from error


def _item(payload: bytes) -> SegmentStart | Record:
    kind = payload[:1]
    if kind == b"T":
        _, seq, now_ns, tick_ns, utc_ns = TICK.unpack_from(payload)
        name = payload[TICK.size :].decode()
        return Record(seq, now_ns, TimerTick(name=name, now_ns=tick_ns, utc_ns=utc_ns), NOTHING)
    if kind == b"F":
        seq, now_ns, message, emitted = _records.decode(payload[1:])
        return Record(seq, now_ns, message, bytes(emitted))
    if kind == b"I":
        seq, now_ns, *values = _intents.decode(payload[1:])
        return Record(seq, now_ns, QuoteIntent(**dict(zip(_intent_names, values, strict=True))), NOTHING)
    if kind == b"H":
        found = _formats.decode(payload[1:]).format
        if found != FORMAT:
            raise msgspec.ValidationError(f"it is of format {found}, and this program reads {FORMAT}")
        return _starts.decode(payload[1:])
    raise msgspec.DecodeError(f"no kind of record: {kind!r}")
