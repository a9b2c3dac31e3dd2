"""/stats: who sees which servers, the figures, the chart and the table; as member, moderator, stranger and host."""

from __future__ import annotations

import csv
import io
from typing import Any

import PIL.Image
import pytest
import simcord
from babel.dates import format_skeleton

from bot.charts import plot
from bot.delivery.feedback import DISLIKE, LIKE
from bot.engine.fake import FakeEngine
from bot.errors import PaintFailed
from bot.jobs import GuildId
from bot.language import Language, speaking
from bot.storage.reports import GROUP, Period
from cogs import _report_charts, _report_table, stats
from tests.conftest import Workshop


class Shown:
    """What /stats answered to somebody."""

    def __init__(self, result: Any, actor: Any) -> None:
        assert result.ephemeral
        self._message, self._actor = result.response, actor
        self.text: str = result.response.content
        self.files = {file.filename: file for file in result.response.attachments}

    async def rows(self) -> list[dict[str, str]]:
        """The rows of the table, which comes by the button."""
        answer = await self._actor.click(self._message, label="Table (CSV)")
        assert answer.ephemeral
        (table,) = answer.response.attachments
        assert table.filename == "stats.csv"
        return list(csv.DictReader(io.StringIO((await table.read()).decode())))

    async def totals(self) -> dict[tuple[str, str], str]:
        """The values of the whole span, by measure and what they are of."""
        rows = await self.rows()
        span = rows[0]["start"], rows[0]["end"]
        return {(row["measure"], row["of"]): row["value"] for row in rows if (row["start"], row["end"]) == span}


async def shown(workshop: Workshop, actor: Any, channel: Any = None, **options: Any) -> Shown:
    return Shown(await actor.slash(channel or workshop.channel, "stats", **options), actor)


def make_host(workshop: Workshop, name: str = "host", **rights: bool) -> simcord.MemberActor:
    """A member who owns the application."""
    host = workshop.member(name, **rights)
    workshop.env.bot.owner_id = host.id
    return host


async def test_members_see_no_such_command_and_nothing_where_it_was_opened_to_them(workshop: Workshop) -> None:
    eve = workshop.member("eve")
    await eve.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    with pytest.raises(simcord.SetupError):
        await eve.slash(workshop.channel, "stats")
    await workshop.open_group("stats", eve)
    for of, words in (("this server", stats.NOT_A_MODERATOR), ("all servers", stats.NOT_THE_HOST)):
        refused = await shown(workshop, eve, of=of)
        assert (refused.text, refused.files) == (words, {})


async def test_a_moderator_sees_their_own_server_and_no_other(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    await workshop.ended()
    other, there = workshop.elsewhere()
    assert "2 pictures for 1 person" in (await shown(workshop, moderator)).text
    assert (await shown(workshop, other, there)).text == "There were no requests in the last 7 days."
    for actor, channel in ((moderator, workshop.channel), (other, there)):
        refused = await shown(workshop, actor, channel, of="all servers")
        assert (refused.text, refused.files) == (stats.NOT_THE_HOST, {})


async def test_the_host_sees_every_server_also_in_a_direct_message_and_nobody_else_there(workshop: Workshop) -> None:
    ada, other_ada = workshop.member("ada"), workshop.elsewhere()
    await ada.slash(workshop.channel, "imagine", prompt="a cat", images=2)
    await other_ada[0].slash(other_ada[1], "imagine", prompt="a dog", images=3)
    await workshop.ended(2)
    host = make_host(workshop, moderator=True)
    here = await shown(workshop, host)
    everywhere = await shown(workshop, host, of="all servers", last="30 days")
    direct = Shown(await host.user.slash("stats"), host.user)
    assert "2 pictures for 1 person" in here.text
    assert everywhere.text.startswith("**All servers, the last 30 days**\n- 5 pictures for 2 people")
    assert "- Workshop: 2 pictures" in everywhere.text
    assert "- Elsewhere: 3 pictures" in everywhere.text
    assert "All servers, the last 7 days" in direct.text
    assert (await direct.totals())["server_pictures", str(workshop.guild.id)] == "2"
    assert not [key for key in await here.totals() if key[0].startswith("server_")]

    stranger = workshop.env.create_user("stranger")
    assert Shown(await stranger.slash("stats"), stranger).text == stats.NOT_THE_HOST
    assert Shown(await ada.user.slash("stats"), ada.user).text == stats.NOT_THE_HOST


async def test_a_host_who_moderates_nothing_sees_a_server_that_opened_the_command_to_them(workshop: Workshop) -> None:
    host = make_host(workshop)
    await host.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    await workshop.open_group("stats", host)
    assert "This server, the last 24 hours" in (await shown(workshop, host, last="24 hours")).text


async def test_the_figures_the_chart_and_the_table_say_the_same(workshop: Workshop, engine: FakeEngine) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("=ada")
    await moderator.slash(workshop.channel, "limits set", depth=1, member=ada)
    for prompt in ("a secret cat", "a secret dog"):
        await ada.slash(workshop.channel, "imagine", prompt=prompt, images=2)
    await workshop.ended(2)
    engine.raises.append(PaintFailed("no"))
    await ada.slash(workshop.channel, "imagine", prompt="a secret cow")
    await workshop.ended(3)
    await moderator.slash(workshop.channel, "mod block", member=ada)
    await ada.slash(workshop.channel, "imagine", prompt="a secret owl")
    answer = await shown(workshop, moderator, last="24 hours")

    text = answer.text
    assert "**This server, the last 24 hours**\n- 4 pictures for 1 person in " in text
    assert "- 3 requests: 2 delivered, 1 failed, 0 cancelled, 0 open" in text
    assert "- Start-time estimates were right 100% of the time (3 estimates); half were off by 0." in text
    assert "- Refused: 1 by a block" in text
    assert f"- `emoji`: 2 requests delivered, fewer than {GROUP} people rated it" in text

    totals, rows = await answer.totals(), await answer.rows()
    (row,) = await workshop.app.database.fetch_all("SELECT sum(used_seconds) AS used FROM jobs")
    assert totals["gpu_seconds", ""] == _report_table.number_cell(row["used"])
    for key, value in {"requests": 3, "delivered": 2, "failed": 1, "pictures": 4, "people": 1}.items():
        assert totals[key, ""] == str(value)
    assert (totals["refused", "block"], totals["results", "emoji"]) == ("1", "2")
    assert ("thumbs_up", "emoji") not in totals
    steps = [row for row in rows if (row["start"], row["end"]) != (rows[0]["start"], rows[0]["end"])]
    for key in ("requests", "pictures"):
        assert sum(float(row["value"]) for row in steps if row["measure"] == key) == float(totals[key, ""])
    assert "secret" not in str(rows)
    assert str(ada.id) not in str(rows)
    assert tuple(rows[0]) == _report_table.HEADER

    chart = answer.files["stats.png"]
    with PIL.Image.open(io.BytesIO(await chart.read())) as picture:
        assert picture.format == "PNG"
        assert picture.width == 960
    assert list(answer.files) == ["stats.png", "models.png"], "Discord shows pictures at once, and a table in the way"
    assert chart.description.startswith(
        "Four charts. This server, the last 24 hours, by the hour (UTC). 4 pictures in all, "
    )
    assert chart.description.endswith("1 failed, 0 cancelled, 1 refused.")


async def test_ratings_of_a_model_are_shown_once_ten_people_gave_some(workshop: Workshop) -> None:
    moderator, ada = workshop.member("mod", moderator=True), workshop.member("ada")
    result = await ada.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    for number in range(GROUP):
        if number == GROUP - 1:
            assert "fewer than 10 people rated it" in (await shown(workshop, moderator)).text
        rater = workshop.member(f"rater {number}")
        await rater.react(workshop.message(result.response.id), LIKE if number else DISLIKE)
    answer = await shown(workshop, moderator)
    assert "- `emoji`: 1 request delivered, 👍 9, 👎 1" in answer.text
    totals = await answer.totals()
    assert (totals["thumbs_up", "emoji"], totals["thumbs_down", "emoji"]) == ("9", "1")


async def test_the_table_is_for_those_who_may_see_the_figures_when_they_ask_for_it(workshop: Workshop) -> None:
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    host = make_host(workshop, moderator=True)
    everywhere = (await host.slash(workshop.channel, "stats", of="all servers")).response
    workshop.env.bot.owner_id = 1
    assert (await host.click(everywhere, label="Table (CSV)")).response.content == stats.NOT_THE_HOST


async def test_the_days_of_a_chart_are_written_as_the_reader_writes_them_if_the_font_can(workshop: Workshop) -> None:
    await workshop.member("ada").slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    report = await workshop.app.reports.report(GuildId(workshop.guild.id), Period.WEEK)
    steps = {}
    for language in (Language.ENGLISH, Language.FRENCH, Language.JAPANESE):
        with speaking(language):
            steps[language] = _report_charts.charts(report)[0][0].steps
    assert steps[Language.ENGLISH] == [f"{start.day} {start:%b}" for start in report.span.starts]
    assert (
        steps[Language.FRENCH]
        == [format_skeleton("MMMd", start, locale="fr") for start in report.span.starts]
        != steps[Language.ENGLISH]
    )
    assert steps[Language.JAPANESE] == steps[Language.ENGLISH]


async def test_without_a_chart_the_figures_and_the_table_are_there(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moderator = workshop.member("mod", moderator=True)
    await moderator.slash(workshop.channel, "imagine", prompt="a cat")
    await workshop.ended()
    monkeypatch.setattr(plot, "SECONDS", 0.0)
    answer = await shown(workshop, moderator)
    assert answer.text.endswith("-# The charts could not be drawn this time. The figures are complete.")
    assert answer.files == {}
    assert (await answer.totals())["pictures", ""] == "1"
    assert "could not be drawn" in caplog.text


@pytest.mark.parametrize(
    ("cell", "inert"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@a", "'@a"),
        ("\ta", "'\ta"),
        ("\ra", "'\ra"),
        ("sd-1.5", "sd-1.5"),
    ],
)
def test_no_cell_is_a_formula(cell: str, inert: str) -> None:
    assert _report_table.inert_cell(cell) == inert


@pytest.mark.parametrize(
    ("value", "cell"),
    [(0, "0"), (10, "10"), (0.0, "0"), (1e7, "10000000"), (1234567.8916, "1234567.892"), (0.5, "0.5"), (1e-9, "0")],
)
def test_a_number_is_whole_where_it_can_be_and_never_a_power(value: float, cell: str) -> None:
    assert _report_table.number_cell(value) == cell


@pytest.mark.parametrize(
    ("seconds", "unit", "scaled"),
    [
        ([None], "seconds", [None]),
        ([0.0, 119.0], "seconds", [0.0, 119.0]),
        ([60.0, None, 120.0], "minutes", [1.0, None, 2.0]),
        ([3600.0, 7200.0], "hours", [1.0, 2.0]),
    ],
)
def test_durations_are_drawn_in_a_unit_that_reads(
    seconds: list[float | None], unit: str, scaled: list[float | None]
) -> None:
    assert _report_charts.scaled(seconds) == (scaled, unit)
