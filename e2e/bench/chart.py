"""The medians as a chart for the README: small panels of three bars, readable on light and on dark ground."""

from __future__ import annotations

from html import escape
from pathlib import Path

from e2e.bench.results import Results

PANELS = [
    ("steps_per_s", "Steps per second", "one run of 1,000 steps"),
    ("triggers_per_s", "Triggers per second", "one by one, from the page"),
    ("short_runs_per_s", "Runs per second", "one step each, backlog of 700"),
    ("trigger_to_complete_ms", "Trigger to output", "idle engine, ms; less is better"),
    ("reload_to_next_step_ms", "Reload to next step", "in the middle of a run, ms; less is better"),
    ("replay_1000_ms", "Replay of 1,000 steps", "finished before the reload, ms; less is better"),
]
ENGINES = [("sqlite", "wa-sqlite"), ("indexeddb", "IndexedDB"), ("upstream", "@coji/durably")]

COLUMNS, MARGIN = 3, 16
PANEL_WIDTH, PANEL_HEIGHT = 296, 134
LABEL_WIDTH, NUMBER_WIDTH, BAR_HEIGHT, BAR_STEP = 92, 56, 18, 26

STYLE = """
  text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 14px; font-weight: 600 }
  .note, .label { fill: #59636e }
  .sqlite { fill: #0969da } .indexeddb { fill: #54aeff } .upstream { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note, .label { fill: #9198a1 }
    .sqlite { fill: #58a6ff } .indexeddb { fill: #1f6feb } .upstream { fill: #6e7681 }
  }
"""


def write_chart(found: Results, path: Path) -> None:
    """Write the chart; panels and bars without a figure stay out."""
    panels = [panel for panel in PANELS if any(found[panel[0]].get(engine) for engine, _ in ENGINES)]
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * PANEL_WIDTH + 2 * MARGIN, rows * PANEL_HEIGHT + 2 * MARGIN
    parts = [_panel(found, panel, *_place(number)) for number, panel in enumerate(panels)]
    title = "durably_wasm on wa-sqlite and on IndexedDB, and @coji/durably on SQLocal, in the same Chromium"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n{''.join(parts)}</svg>\n"
    )


def _place(number: int) -> tuple[int, int]:
    row, column = divmod(number, COLUMNS)
    return MARGIN + column * PANEL_WIDTH, MARGIN + row * PANEL_HEIGHT


def _panel(found: Results, panel: tuple[str, str, str], x: int, y: int) -> str:
    key, title, note = panel
    figures = [(engine, name, found[key].get(engine)) for engine, name in ENGINES]
    most = max(figure or 0 for _, _, figure in figures)
    bars = [_bar(bar, number, most) for number, bar in enumerate(figures) if bar[2] is not None]
    head = f'<text class="title" y="12">{escape(title)}</text>\n<text class="note" y="29">{escape(note)}</text>\n'
    return f'<g transform="translate({x} {y})">\n{head}{"".join(bars)}</g>\n'


def _bar(bar: tuple[str, str, float | None], number: int, most: float) -> str:
    engine, name, figure = bar
    assert figure is not None
    top, middle = 40 + number * BAR_STEP, 40 + number * BAR_STEP + 13
    length = max(1, round((PANEL_WIDTH - LABEL_WIDTH - NUMBER_WIDTH - MARGIN) * figure / most))
    return (
        f'<text class="label" y="{middle}">{escape(name)}</text>'
        f'<rect class="{engine}" x="{LABEL_WIDTH}" y="{top}" width="{length}" height="{BAR_HEIGHT}" rx="2"/>'
        f'<text x="{LABEL_WIDTH + length + 6}" y="{middle}">{_number(figure)}</text>\n'
    )


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 10 else f"{figure:.1f}"
