"""What a row of the database is to those who build values of it."""

from __future__ import annotations

from typing import Any, Protocol


class Row(Protocol):
    """A row of the database: its values by the name or the position (from 0) of a column."""

    def __getitem__(self, column: str | int, /) -> Any: ...

    def keys(self) -> list[str]:
        """The names of the columns."""
        ...
