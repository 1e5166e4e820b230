"""Pages that are made from the code are those that the code makes."""

import json
import re
import runpy
from pathlib import Path

from offhook.observability.metrics.catalogue import SECTIONS

ROOT = Path(__file__).parents[1]


def test_every_page_is_what_make_pages_writes() -> None:
    pages: dict[Path, str] = runpy.run_path(str(ROOT / "scripts" / "write_pages.py"))["pages"]()
    assert len(pages) > 5
    for path, page in pages.items():
        assert path.read_text(encoding="utf-8") == page, path.name


def test_the_dashboard_has_a_panel_for_every_metric_and_no_two_in_one_place() -> None:
    board = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
    shown = [panel for panel in board["panels"] if panel["type"] != "row"]
    asked = [re.findall(r"offhook_\w+", panel["targets"][0]["expr"]) for panel in shown]
    names = [name for (name,) in asked]
    every = [metric for section in SECTIONS.values() for metric in section]
    assert names == [m.name + "_bucket" * (m.kind == "histogram") for m in every]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < 24 for x, _ in cells)
    for panel in shown:
        for target in panel["targets"]:
            for one, other in ("()", "{}", "[]"):
                assert target["expr"].count(one) == target["expr"].count(other)
