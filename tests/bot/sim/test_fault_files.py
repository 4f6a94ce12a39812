"""Faults from files, the shipped scenarios, and the page of the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.sim import fault_files
from bot.sim.catalogue import CATALOGUE
from bot.sim.faults import fault_of

ROOT = Path(__file__).parents[3]
SCENARIOS = {"calm", "busy", "storm", "engine-restart", "ghost-fills", "lossy-network", "rate-limited", "hostile"}
ROWS = """
W01 W02 W03 W04 W05 W06 W07 W08 W09 W10 W11 W14
U01 U02 U03 U04 U05 U07 U09 U10 U11 U12 U13 U14
P01 P02 P03 P04 P05 P06 P09 P10 P11 P12 P13 P14 P15 P16 P17 P18 P21
C01 C02 C03 C04 C05 C07 C08 C09 C10
S01 S02 S03 S04 S05 S06
H01 H03 H04 H05
A01 A03
B01 B02 B03 B04 B06
T01 T03 T04 T05 T06 T08 T09 T10
D01 D03 D05
V01
"""


def test_every_named_scenario_is_there_and_says_what_it_is_about() -> None:
    assert set(fault_files.names()) == SCENARIOS
    for name, about in fault_files.scenarios().items():
        assert about
        assert bool(fault_files.load(name)) is (name != "calm")


def test_a_file_of_faults(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(
        '[[fault]]\nid = "P01"\nat_s = 3\nmatch = "/order"\n\n[[fault]]\nid = "T01"\nactor = "strategy"\nnth = 2'
    )
    first, second = fault_files.load(str(path))
    assert (first.id, first.at_s, first.match, first.kind) == ("P01", 3.0, "/order", "reset")
    assert (second.id, second.nth, second["actor"]) == ("T01", 2, "strategy")
    assert fault_of(first.table()) == first
    assert fault_of(second.table()) == second


@pytest.mark.parametrize(
    "text,named",
    [
        ("fault = 3", "list of tables"),
        ("faults = []", "'faults'"),
        ("[[fault]]\nid = 'X9'", "fault 1: unknown fault X9"),
        ("[[fault]]\nid = 'P01'\n[[fault]]\nid = 'P01'\nhang = 1", "fault 2: P01: hang: unknown key"),
        ("[[fault]", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=named):
        fault_files.load(str(path))


def test_an_unknown_scenario_is_told_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="unknown faults 'rainy': want busy, calm"):
        fault_files.load("rainy")


def test_the_list_and_the_page_have_every_fault() -> None:
    listing, page = fault_files.listing(), fault_files.page()
    for fault_id, entry in CATALOGUE.items():
        assert f"  {fault_id}" in listing
        assert f"| {fault_id} | {entry.title}" in page


def test_every_fault_that_the_venue_can_cause_has_a_test_on_the_wire() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    missing = [name for name, entry in CATALOGUE.items() if not entry.how and f'"{name}"' not in tests]
    assert not missing


def test_every_known_fault_has_its_row() -> None:
    assert set(ROWS.split()) == set(CATALOGUE)


def test_docs_show_the_catalogue_as_it_is() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    assert page == fault_files.page(), "write it anew: python -m bot.sim.fault_files > docs/faults.md"
