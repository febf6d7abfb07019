"""How results look in a notebook: HTML tables, data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from posezoo.base.errors import UsageError

if TYPE_CHECKING:
    import pandas

ROWS = 10  # of a long table


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as a notebook shows it; of many rows the first, and how many there are. All text is escaped."""
    return html("table", title=title, header=header, rows=rows[:ROWS], total=len(rows))


def html_lines(lines: Iterable[str]) -> str:
    """Lines of text as a notebook shows them. All text is escaped."""
    return html("lines", lines=list(lines))


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


def html(template: str, **words: Any) -> str:
    """What `templates/TEMPLATE.html.j2` beside this module makes of the words. All text is escaped."""
    import jinja2  # only notebooks need it

    text = (files("posezoo.base") / "templates" / f"{template}.html.j2").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True).from_string(text).render(words)
