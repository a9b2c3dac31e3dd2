"""The command line says what is wrong with an argument in its own words, and ends by signals also without a loop's."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import typer
from typer.testing import CliRunner

from bot.__main__ import cli
from bot.command import run_to_end


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["imagine", "x", "--steps", "abc"], "'abc' is not a whole number."),
        (["imagine", "x", "--guidance", "much"], "'much' is not a number."),
        (["forget", "0"], "'0' is too small; the smallest is 1."),
        (["try", "--port", "65536"], "'65536' is too large; the largest is 65535."),
    ],
)
def test_a_wrong_argument_is_explained_without_the_words_of_a_library(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(cli, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 2
    assert words in result.output
    assert "Input should be" not in result.output


def test_ctrl_c_ends_a_command_where_the_loop_takes_no_signals_as_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    async def interrupted() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.unix_events._UnixSelectorEventLoop, "add_signal_handler", refuse)
    try:
        with pytest.raises(typer.Exit) as ended:
            run_to_end(interrupted())
        assert ended.value.exit_code == 130
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
