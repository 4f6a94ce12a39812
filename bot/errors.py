"""The one error tree: what an adapter or a loader could not do, named by whose fault it was.

What the venue may do is a message, not an exception (messages.py); what cannot happen is an assert.

    BotError
      SettingsError      ours: a setting, an option, a file of the operator
      VenueRefused       theirs, final: the request was understood and refused
      VenueUnavailable   no usable answer: the outcome is unknown
      FrameError         a frame or body that cannot be read
      JournalError       the journal cannot be written or is damaged
        OtherBuild       it is whole, but not this program's to read or to repeat
"""

from __future__ import annotations


class BotError(Exception):
    """Base of every error this project raises on purpose; str() is one clear line for a person."""


class SettingsError(BotError):
    """Something the operator gave cannot be used; the line says what and how to mend it. Exit code 2."""


class VenueRefused(BotError):
    """The venue understood the request and refused it for good."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class VenueUnavailable(BotError):
    """No usable answer. If the request had left, it may still have taken effect: treat the order as live."""


class FrameError(BotError):
    """Bytes of a stream or a body that do not decode; the raw bytes go to quarantine, never to a log line."""


class JournalError(BotError):
    """The journal cannot be written (no journal, no order) or holds damage that is not a torn tail."""


class OtherBuild(JournalError):
    """The journal is whole, but another build of this program wrote it: this one cannot read it, or does not repeat it."""
