"""A share of the fuzzing (fuzz.py) in every run of the tests, and that what it finds would be told."""

from __future__ import annotations

import pytest
from fuzz import Target, hunt, smallest, spoilt
from fuzz_targets import TARGETS

INPUTS = 200  # of each target, the first of seed 0; the command goes on from there


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_valid_inputs_are_taken(target: Target) -> None:
    for data in target.corpus:
        target.run(data)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_spoilt_inputs_end_in_an_answer_or_in_the_documented_error(target: Target) -> None:
    assert not hunt(target, INPUTS, seed=0)


def quotes(data: bytes) -> None:
    if data.count(b'"') >= 5:
        raise AssertionError("more than two texts")  # a bare assert would tell the address of what it compared


SICK = Target("sick", quotes, (b'{"a":"b","c":"d"}', b'{"a":1}'), json=True)


def test_a_failure_is_told_with_the_least_input_that_shows_it_and_how_to_see_it_again() -> None:
    (told,) = hunt(SICK, 50, seed=3)
    assert "more than two texts" in told
    assert 'these are enough: b\'"""""\'' in told
    number = int(told.rpartition("--at ")[2])
    assert hunt(SICK, 1, seed=3, first=number) == [told]


def test_an_input_follows_from_its_seed_and_number() -> None:
    target = TARGETS[0]
    assert [spoilt(target, 1, n) for n in range(20)] == [spoilt(target, 1, n) for n in range(20)]
    assert spoilt(target, 1, 5) != spoilt(target, 2, 5)
    (told,) = hunt(SICK, 50, seed=3)
    assert smallest(SICK, b'xx"yy"zz"""', told.splitlines()[0].removeprefix("sick: ")) == b'"""""'
