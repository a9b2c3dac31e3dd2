"""People's own defaults: set, changed, cleared, each person's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.storage.preferences import NAMES, Preferences, PreferenceStore
from tests.bot.storage.conftest import ADA, GRACE, Store, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path) as store:
        yield store


async def test_what_is_set_stays_until_it_is_changed_or_cleared(store: Store) -> None:
    preferences = PreferenceStore(store.database)
    assert await preferences.of(ADA) == Preferences()
    everything = Preferences(2, "16:9", "emoji", True, False, True)
    values = {name: getattr(everything, name) for name in NAMES}
    assert await preferences.change(ADA, values) == everything
    assert await preferences.of(ADA) == everything
    await preferences.change(ADA, {"images": 3}, ["model", "ping"])
    assert await PreferenceStore(store.database).of(ADA) == Preferences(3, "16:9", None, True, None, True)
    assert await preferences.of(GRACE) == Preferences()


async def test_a_person_without_any_has_no_row(store: Store) -> None:
    preferences = PreferenceStore(store.database)
    await preferences.change(ADA, {"images": 3})
    await preferences.change(ADA, {}, NAMES)
    assert await store.database.fetch_all("SELECT * FROM preferences") == []
