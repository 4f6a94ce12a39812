"""A trial or a backtest as one HTML file: charts as inline SVG, and every figure in tables. Loads nothing from anywhere."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pygal
from pygal.style import CleanStyle

from bot.sim.trial.measures import PARTS

GENERATED, RECORDED = "Generated market", "Recorded market"
STYLE = CleanStyle(font_family="sans-serif", background="white", plot_background="white")


def page(report: Mapping[str, Any], *, title: str, market: str, about: str) -> str:
    """`market` is what the charts say it is of; a sentence on it is the report's note."""
    strategies: Mapping[str, Mapping[str, Any]] = report["strategies"]
    compared = differences(report)
    body = [
        f"<h1>{title}: {market.lower()}</h1><p>{html.escape(about)}.</p><p><strong>{html.escape(report['note'])}</strong></p>",
        _figure(edge_chart(report, market)) if compared else "",
        _cumulated(report["by_window"], market),
        _figure(size_chart(report, market)) if "in_a_row" in report else "",
        _parts(strategies, market),
        _shares(strategies, "modes", "Share of the time in each quote mode"),
        _table(
            ("", *_scalars(strategies)), [(n, *(f[k] for k in _scalars(strategies))) for n, f in strategies.items()]
        ),
        _table(
            ("", "edge, USD a window", "95 % from", "to"),
            [(name, row["edge_diff_usd"], *row["ci95"]) for name, row in compared.items()],
        ),
        f"<p>Ledger off by {report['ledger_error_e6']} micro-USD; {report['speed']:.0f} times as fast as the clock.</p>",
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>body{{font:15px sans-serif;margin:2em;"
        "max-width:72em}td,th{padding:.2em .6em;text-align:right}figure{margin:1em 0}</style>"
        + "".join(body)
        + "</html>\n"
    )


def differences(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        **{f"ours less {name}": row for name, row in report.get("paired", {}).items()},
        **{f"ours less ours without {name}": row for name, row in report.get("ablations", {}).items()},
        **{f"{name} less ours": row for name, row in report.get("sweep", {}).items()},
    }


def edge_chart(report: Mapping[str, Any], market: str) -> pygal.graph.graph.Graph:
    compared = differences(report)
    chart = pygal.HorizontalBar(**looks(f"{market}: paired edge, USD a window, with 95 % intervals"))
    chart.show_legend = False
    chart.x_labels = list(compared)
    ends = [0.0, *(end for row in compared.values() for end in row["ci95"])]
    chart.range = min(ends), max(ends)
    chart.add(
        "",
        [
            {"value": row["edge_diff_usd"], "ci": {"low": row["ci95"][0], "high": row["ci95"][1]}}
            for row in compared.values()
        ],
    )
    return chart


def size_chart(report: Mapping[str, Any], market: str) -> pygal.graph.graph.Graph:
    chart = pygal.Line(**looks(f"{market}: shares resting a side, by window of a session"), show_dots=False)
    chart.x_labels = [str(number + 1) for number in range(max(map(len, report["in_a_row"].values())))]
    for name, row in report["in_a_row"].items():
        chart.add(name, row)
    return chart


def _cumulated(by_window: Mapping[str, Iterable[Sequence[float]]], market: str) -> str:
    chart = pygal.XY(**looks(f"{market}: edge, added up over the windows, USD"), show_dots=False)
    for name, rows in by_window.items():
        chart.add(name, [(0, 0.0), *enumerate(itertools.accumulate(row[0] for row in rows), 1)])
    return _figure(chart)


def _parts(strategies: Mapping[str, Mapping[str, Any]], market: str) -> str:
    chart = pygal.Bar(**looks(f"{market}: parts of the PnL, USD a window"))
    chart.x_labels = list(strategies)
    for part in PARTS:
        chart.add(part, [figures["pnl_usd"][part] for figures in strategies.values()])
    return _figure(chart)


def _shares(strategies: Mapping[str, Mapping[str, Any]], key: str, title: str) -> str:
    chart = pygal.StackedBar(**looks(title))
    chart.x_labels = list(strategies)
    for name in dict.fromkeys(name for figures in strategies.values() for name in figures[key]):
        chart.add(name, [figures[key].get(name, 0.0) for figures in strategies.values()])
    return _figure(chart)


def looks(title: str) -> dict[str, Any]:
    """`js` empty: the library's own page script would be loaded from afar."""
    return {"title": title, "style": STYLE, "js": [], "height": 360, "disable_xml_declaration": True}


def _figure(chart: pygal.graph.graph.Graph) -> str:
    return f"<figure>{chart.render(is_unicode=True)}</figure>"


def _scalars(strategies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    first = next(iter(strategies.values()))
    return [key for key, value in first.items() if not isinstance(value, dict)]


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    def cells(row: Iterable[Any], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(_text(cell))}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{cells(head, 'th')}</tr>{body}</table>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
