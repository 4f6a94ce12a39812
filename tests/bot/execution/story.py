"""A recorded story: what an executor was told by a venue with faults, when, and what it said. Made once a seed."""

from __future__ import annotations

from functools import cache

from desk_fake import digest
from test_executor_chaos import Chaos

from bot.execution.executor import Executor
from bot.execution.risk import Limits
from bot.messages import Message
from bot.units import Ns

SALT_BASE = 1  # of Chaos


def an_executor() -> Executor:
    """A fresh one, made as the story's was."""
    return Executor(limits=Limits(), order_id_of=digest, salt_base=SALT_BASE)


@cache
def story(seed: int, steps: int = 700, faults: float = 0.05) -> tuple[tuple[Ns, Message, tuple[Message, ...]], ...]:
    """(when, told, said) of each message."""
    chaos = Chaos(seed, faults=faults)
    told: list[tuple[Ns, Message, tuple[Message, ...]]] = []
    handle = chaos.executor.handle

    def recorded(message: Message, now_ns: Ns) -> list[Message]:
        said = handle(message, now_ns)
        told.append((now_ns, message, tuple(said)))
        return said

    chaos.executor.handle = recorded  # type: ignore[method-assign]
    for _ in range(steps):
        chaos.step()
    return tuple(told)
