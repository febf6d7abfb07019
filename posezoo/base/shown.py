"""How results look in a notebook: HTML tables, data frames."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from posezoo.base.errors import UsageError

if TYPE_CHECKING:
    import pandas

ROWS = 10  # of a long table


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as a notebook shows it; of many rows the first, and how many there are. All text is escaped."""
    cells = [[html.escape(str(cell)) for cell in row] for row in rows[:ROWS]]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    more = f"<p>{len(rows)} rows, the first {ROWS} shown</p>" if len(rows) > ROWS else ""
    caption = f"<p><b>{html.escape(title)}</b></p>" if title else ""
    return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def html_facts(title: str, facts: Mapping[str, Any]) -> str:
    """Names and values as a notebook shows them."""
    return html_table(title, ["", ""], list(facts.items()))


def data_frame(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """The columns as pandas has them. Raises UsageError where it is not installed."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise UsageError("to_dataframe needs pandas, which is not installed", "pip install pandas") from None
    return pandas.DataFrame(dict(columns))
