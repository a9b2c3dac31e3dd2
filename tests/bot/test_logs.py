"""Logging, with secrets cut out."""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest

from bot import logs
from bot.errors import Unreachable
from bot.language import Language, speaking
from bot.logs import HiddenTexts, RedactingFormatter, hide, setup_logging, traced, without_words

INTERACTION = "aW50ZXJhY3Rpb246MTM2NTQ4MjAxNzM5MDQ1NjgzMjpLcVJ0WnhXYjdQbUxqMk5zRHZGaEdjWQ"
WEBHOOK = "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372ba2939e72279b94526ff5d1bd4358d65cf11"
BOT = "MTM2NTQ4MjAxNzM5MDQ1Njgz" + "." + "GaBcDe" + "." + "x" * 38
LONG_BOT = "MTM2NTQ4MjAxNzM5MDQ1NjgzMjE" + "." + "G_-cDe" + "." + "a-_Z" * 10


LIBRARIES = (
    "discord", "discord.http", "aiosqlite", "asyncio", "aiohttp.client", "compel", "diffusers.models",
    "transformers", "huggingface_hub", "httpx", "urllib3.connectionpool", "PIL.PngImagePlugin",
    "filelock", "matplotlib", "py.warnings",
    "a_library_of_tomorrow",
)  # fmt: skip


@pytest.fixture
def _loggers_as_they_were() -> Iterator[None]:
    names = (None, "bot", "cogs", "__main__", "httpx", "httpx2", *LIBRARIES)
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger and what it wrote. What was typed before in this process is not hidden from it."""
    monkeypatch.setattr(logs, "_hidden", HiddenTexts())
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
    for name in LIBRARIES:
        assert logging.getLogger(name).getEffectiveLevel() >= discords


@pytest.mark.usefixtures("_loggers_as_they_were")
def test_a_library_that_sets_its_own_level_shows_no_payloads_either() -> None:
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG)
    setup_logging("debug")
    assert not any(logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in LIBRARIES)


@pytest.mark.usefixtures("_loggers_as_they_were")
@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_no_address_that_a_picture_is_fetched_from_is_logged(level: str) -> None:
    setup_logging(level)
    assert not logging.getLogger("httpx2").isEnabledFor(logging.INFO)
    assert logging.getLogger("httpx2").isEnabledFor(logging.WARNING) is (level != "error")


@pytest.fixture
def debugging(_loggers_as_they_were: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What was written to standard error at log level debug."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    hide("a Foxglove, an edelweiss in a thunderstorm", "timeout of a file")
    setup_logging("debug")
    return written.getvalue


def test_a_refusal_that_quotes_a_prompt_is_logged_without_it(debugging: Callable[[], str]) -> None:
    log = logging.getLogger("bot.delivery.progress")
    quoted = "Discord answered 400: In content: 'a Foxglove, an edelweiss' is too long (code 50035)"
    log.debug("progress of job %d was not shown: %s", 7, Unreachable(quoted))
    log.debug("progress of job %d was not shown: %s", 8, LookupError("FOXGLOVE"))
    said = debugging()
    assert "job 7 was not shown: Discord answered 400: In content: 'a …, an …' is too long (code 50035)" in said
    assert "job 8 was not shown: …" in said


def test_what_a_library_says_of_a_prompt_is_logged_without_it(debugging: Callable[[], str]) -> None:
    logging.getLogger("compel").warning("truncated: %r", ["edelweiss in a", "thunderstorm"])
    logging.getLogger("discord.client").error("Ignoring: a foxglove")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("CLIP cannot see 'edelweiss'", UserWarning, stacklevel=1)
    said = debugging()
    assert "truncated: ['… in a', '…']" in said
    assert not re.search("foxglove|edelweiss|thunderstorm", said, re.IGNORECASE)
    assert "CLIP cannot see" in said


@pytest.mark.parametrize("name", ["bot.worker.pipelines", "asyncio"])
def test_an_exception_that_quotes_a_prompt_is_traced_without_it(name: str, debugging: Callable[[], str]) -> None:
    try:
        try:
            raise ValueError("cannot parse 'a foxglove'")
        except ValueError as error:
            raise LookupError("the timeout of\nan edelweiss") from error
    except LookupError:
        logging.getLogger(name).exception("it failed")
    said = debugging()
    assert "ValueError: cannot … 'a …'" in said or "ValueError: cannot parse 'a …'" in said
    assert "LookupError: the timeout of\nan …" in said, "ordinary words stay"
    assert "test_logs.py" in said, "and so does where it happened"
    assert "edelweiss in a" not in said


def test_only_the_last_texts_are_remembered() -> None:
    texts = HiddenTexts(2)
    for text in ("a foxglove", "an anemone", "a foxglove", "a buttercup"):
        texts.add(text)
    assert texts.cut("foxglove anemone buttercup") == "… anemone …"
    texts.add("an anemone")
    assert texts.cut("foxglove anemone buttercup") == "foxglove … …"


@pytest.mark.usefixtures("_loggers_as_they_were")
def test_everything_goes_to_standard_error_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("info")
    setup_logging("info")
    logging.getLogger("discord.client").warning("logging in with %s", BOT)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("discord.client: logging in with [token]") == 1, "once, however often it was set up"


def test_the_log_is_english_while_a_person_reads_another_language(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    error = Unreachable("It could not be delivered ({error}).", error="x")
    with speaking(Language.JAPANESE):
        logger.warning("%s %s", error, error.reason)
        logger.warning("%s", traced(error))
    assert written.getvalue().count("It could not be delivered (x).") == 3
