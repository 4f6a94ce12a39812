"""What is fuzzed (fuzz.py): valid inputs of each reader of bytes, and what must hold of what it makes of spoilt ones.

A reader answers or raises its documented error. What it tells fits the journal and passes through an executor; no fill,
ack or cancel is told that the input does not name; what is unknown is said to be.
"""

from __future__ import annotations

from fuzz_answers import ANSWERS
from fuzz_journal import JOURNAL
from fuzz_settings import OPERATOR
from fuzz_streams import STREAMS

TARGETS = (*STREAMS, *ANSWERS, *OPERATOR, *JOURNAL)
