"""What a message must say, whatever its words."""

from __future__ import annotations

import re


def naming(*facts: object) -> str:
    """A pattern for a message that names all `facts`: paths, keys, values, numbers; in any order, in any sentence."""
    return "".join(rf"(?=[\s\S]*(?<![A-Za-z0-9]){re.escape(str(fact))}(?![A-Za-z0-9]))" for fact in facts)
