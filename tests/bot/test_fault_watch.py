"""Faults meant for the inside of the bot: from a file or a POST at the venue to the actor they name."""

from __future__ import annotations

import queue

import pytest

from bot.embedded import give_faults
from bot.errors import SettingsError
from bot.faults import FaultWatch
from bot.messages import InjectedFault, Message
from bot.sim.faults import fault_of
from bot.sim.server import VenueOptions, VenueThread

HANG = {"id": "T06", "hang_s": 0.7}


def watched(venue: VenueThread, after: int) -> queue.Queue[tuple[str, Message]]:
    told: queue.Queue[tuple[str, Message]] = queue.Queue()
    watch = FaultWatch(venue.info["url"], lambda actor, message: told.put((actor, message)))
    watch.after = after
    watch.start()
    return told


def test_a_fault_of_the_venues_file_reaches_its_actor() -> None:
    planned = (fault_of({"id": "P01", "nth": 9}), fault_of({**HANG, "at_s": 0.1}))
    with VenueThread(VenueOptions(seed=41, faults=planned)) as venue:
        told = watched(venue, after=0)
        assert told.get(timeout=5) == ("executor", InjectedFault(kind="hang", hang_s=0.7))


def test_faults_given_to_a_running_venue_reach_their_actor_and_older_ones_do_not() -> None:
    with VenueThread(VenueOptions(seed=42)) as venue:
        url = venue.info["url"]
        assert give_faults(url, [{"id": "T01", "actor": "journal"}]) == 0
        after = give_faults(url, [{"id": "P01", "nth": 9}, HANG])
        assert after == 1
        assert watched(venue, after).get(timeout=5)[0] == "executor"
        with pytest.raises(SettingsError, match="refuses the fault X1"):
            give_faults(url, [{"id": "X1"}])


def test_a_venue_that_is_not_there_takes_no_faults() -> None:
    with pytest.raises(SettingsError, match="takes no faults"):
        give_faults("http://127.0.0.1:1", [])
