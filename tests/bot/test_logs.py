"""Logging, with secrets cut out."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from bot.logs import RedactingFormatter, setup_logging, traced, without_words

INTERACTION = "aW50ZXJhY3Rpb246MTM2NTQ4MjAxNzM5MDQ1NjgzMjpLcVJ0WnhXYjdQbUxqMk5zRHZGaEdjWQ"
WEBHOOK = "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372ba2939e72279b94526ff5d1bd4358d65cf11"
BOT = "MTM2NTQ4MjAxNzM5MDQ1Njgz" + "." + "GaBcDe" + "." + "x" * 38
LONG_BOT = "MTM2NTQ4MjAxNzM5MDQ1NjgzMjE" + "." + "G_-cDe" + "." + "a-_Z" * 10


@pytest.fixture
def _loggers_as_they_were() -> Iterator[None]:
    names = (None, "discord", "aiosqlite", "asyncio")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger and what it wrote."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(RedactingFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(handler)
    yield logger, written
    handler.close()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            f"PATCH https://discord.com/api/v10/webhooks/136548201739045683/{INTERACTION}/messages/@original 200",
            "PATCH https://discord.com/api/v10/webhooks/136548201739045683/[token]/messages/@original 200",
        ),
        (
            f"POST https://discord.com/api/v10/interactions/1365482017390456/{INTERACTION}/callback?with_response=1",
            "POST https://discord.com/api/v10/interactions/1365482017390456/[token]/callback?with_response=1",
        ),
        (
            f"https://discord.com/api/webhooks/136548201739045683/{WEBHOOK}?wait=true",
            "https://discord.com/api/webhooks/136548201739045683/[token]?wait=true",
        ),
        (f"url='https://discord.com/api/webhooks/1/{WEBHOOK}'", "url='https://discord.com/api/webhooks/1/[token]'"),
        (f"interaction {{'token': '{INTERACTION}'}}", "interaction {'token': '[token]'}"),
        (f"Authorization: Bot {BOT}", "Authorization: Bot [token]"),
        (f"{{'token': '{LONG_BOT}', 'intents': 3}}", "{'token': '[token]', 'intents': 3}"),
        (f"two: {BOT} {BOT}", "two: [token] [token]"),
        ("job 7, attempt 1: discord.py 2.7.1 of /interactions/ ended", None),
        ("images/0001/1234-1-1-0a1b2c3d4e5f.png sha256 " + "ab" * 32, None),
    ],
)
def test_tokens_are_cut_out_and_nothing_else(
    log: tuple[logging.Logger, io.StringIO], message: str, said: str | None
) -> None:
    logger, written = log
    logger.info(message)
    assert written.getvalue() == f"INFO {said or message}\n"


def test_tokens_in_arguments_are_cut_out(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.info("%s %r %s", f"/webhooks/1/{WEBHOOK}/x", {"token": BOT}, INTERACTION)
    assert written.getvalue() == "INFO /webhooks/1/[token]/x {'token': '[token]'} [token]\n"


def test_tokens_in_tracebacks_and_their_causes_are_cut_out(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    try:
        try:
            raise OSError(f"Cannot connect to https://discord.com/api/v10/webhooks/1/{INTERACTION}/messages/@original")
        except OSError as error:
            raise LookupError(f"{BOT}\nand /webhooks/1/{WEBHOOK}") from error
    except LookupError:
        logger.exception("a bug", stack_info=True)
    text = written.getvalue()
    assert "OSError: Cannot connect to https://discord.com/api/v10/webhooks/1/[token]/messages/@original" in text
    assert "LookupError: [token]\nand /webhooks/1/[token]" in text
    assert not any(secret in text for secret in (INTERACTION, WEBHOOK, BOT))


def test_the_words_of_a_request_are_cut_out() -> None:
    assert without_words("No Foxglove at (1, 2) in a fox", "a foxglove (2", "") == "No … at (1, 2) in a fox"
    assert without_words("as it is", "", "a b") == "as it is"
    try:
        try:
            raise ValueError("What is 'a foxglove'?")
        except ValueError as error:
            raise LookupError("a\nfoxglove") from error
    except LookupError as error:
        text = traced(error, "a foxglove")
    assert "test_logs.py" in text
    assert "ValueError: What is 'a …'?" in text
    assert text.endswith("LookupError: a\n…")


@pytest.mark.usefixtures("_loggers_as_they_were")
@pytest.mark.parametrize(
    ("level", "ours", "discords"),
    [
        ("debug", logging.DEBUG, logging.INFO),
        ("info", logging.INFO, logging.INFO),
        ("warning", logging.WARNING, logging.WARNING),
        ("error", logging.ERROR, logging.ERROR),
    ],
)
def test_discords_own_chatter_which_shows_whole_payloads_is_never_logged(level: str, ours: int, discords: int) -> None:
    setup_logging(level)
    assert logging.getLogger("bot.app").getEffectiveLevel() == ours
    for name in ("discord.gateway", "discord.http", "aiosqlite", "asyncio"):
        assert logging.getLogger(name).getEffectiveLevel() == discords


@pytest.mark.usefixtures("_loggers_as_they_were")
def test_everything_goes_to_standard_error_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("info")
    setup_logging("info")
    logging.getLogger("discord.client").warning("logging in with %s", BOT)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("discord.client: logging in with [token]") == 1, "once, however often it was set up"
