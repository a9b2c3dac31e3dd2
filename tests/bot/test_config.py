"""The host's settings: what is read, what overrides it, and what is said when it is wrong."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bot.config import EMBEDDED_MODEL, Config, ControlNetConfig, LoraConfig, ModelConfig
from bot.config_file import load_config
from bot.errors import ConfigError
from bot.provider_config import ProviderConfig
from bot.secrets import read_database_key, read_token

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("ATELIER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a config.toml and gives its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "config.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def complaint(path: Path | None) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    return str(refused.value)


def test_the_example_file_says_the_defaults() -> None:
    assert load_config(EXAMPLE) == load_config(None) == Config()


def test_the_example_file_names_every_setting() -> None:
    example = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))

    def check(section: type[BaseModel], values: dict[str, Any], but: set[str]) -> None:
        assert set(values) == set(section.model_fields) - but
        for name, field in section.model_fields.items():
            if name in values and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                check(field.annotation, values[name], set())

    check(Config, example, {"providers"})
    check(ModelConfig, example["models"][0], {"config", "draft_lora", "loras", "controlnets", "provider", "api"})
    assert re.search(r"^# config = ", EXAMPLE.read_text(encoding="utf-8"), re.M), "it has no default to set"


def test_the_examples_that_are_commented_out_work_too(written: Any) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    keys = "name|source|config|weight|trigger|description|draft_steps|draft_guidance_scale|draft_lora"
    keys += "|base_url|slots|per_minute|timeout|provider|api"
    on = re.sub(rf"^# ?(?=\[\[(?:models|providers)(?:\.\w+)?\]\]|(?:{keys}) = )", "", text, flags=re.M)
    config = load_config(written(on))
    *models, remote = config.models
    assert config.providers == (ProviderConfig(name="openai"),)
    assert (remote.name, remote.provider, remote.width, remote.steps) == ("flare", "openai", 1024, 1)
    assert [model.name for model in models] == ["emoji", "sd14", "mine"]
    assert [lora.name for lora in models[-1].loras] == ["sketch", "lcm"]
    assert (models[-1].draft_steps, models[-1].draft_guidance_scale, models[-1].draft_lora) == (5, 1.0, "lcm")
    assert [net.name for net in models[-1].controlnets] == ["canny"]


def test_what_the_file_leaves_out_keeps_its_default(written: Any) -> None:
    config = load_config(written("[limits]\npace = 7\n"))
    assert (config.limits.pace, config.limits.depth, config.models) == (7, 5, (EMBEDDED_MODEL,))


def test_the_byte_order_mark_of_windows_editors_is_no_content(written: Any) -> None:
    assert load_config(written(b"\xef\xbb\xbf[limits]\r\npace = 7\r\n")).limits.pace == 7


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[limits]\npace = 0\n", "line 2: limits.pace: 0 is too small; the smallest is 1."),
        (
            "[limits]\n\n# no\npace = 'x'\n",
            "line 4: limits.pace: 'x' does not work here; this setting is a whole number.",
        ),
        ("limits = { pace = 0 }\n", "line 1: limits.pace: 0 is too small"),
        ("limits = 3\n", "line 1: limits: 3 does not work here; this setting is a table of settings."),
        (
            "[limits]\ndepth = 1\n[engine]\ndevice = 'tpu'\n",
            "device: 'tpu' does not work here; choose 'auto', 'cuda'",
        ),
        ("log_level = 'loud'\n", "line 1: log_level: 'loud' does not work here; choose 'debug', 'info'"),
        (
            "[limits]\nchannels = 'some'\n",
            "channels: 'some' does not work here; write 'all' or a list in square",
        ),
        (
            "[limits]\nchannels = [1, 'x']\n",
            "entry 2 of limits.channels: 'x' does not work here; this setting is a whole",
        ),
        ("[limits]\npase = 3\n", "line 2: limits.pase: there is no such setting; did you mean pace?"),
        ("[limit]\npace = 3\n", "line 1: limit: there is no such setting; did you mean limits?"),
        ("zzz = 3\n", "line 1: zzz: there is no such setting."),
        ("[discord]\ncommand = 'Paint it'\n", "line 2: discord.command: a command name is 1 to 32 lower-case letters"),
        ("[discord]\ncommand = ''\n", "line 2: discord.command: a command name is 1 to 32 lower-case letters"),
        (
            "[metrics]\nlisten = '9464'\n",
            "line 2: metrics.listen: an address to listen at is host:port, like 127.0",
        ),
        ("[metrics]\nlisten = 'localhost:65536'\n", "line 2: metrics.listen: an address to listen at is host:port"),
        ("[metrics]\nlisten = ':9464'\n", "line 2: metrics.listen: an address to listen at is host:port"),
        ("[discord]\ncomand = 'x'\n", "line 2: discord.comand: there is no such setting; did you mean command?"),
        ("models = []\n", "line 1: models: this list is too short; it needs at least 1."),
        ("[[models]]\nname = 'a'\n", "line 1: source of model 1: this setting is missing; add it."),
        (
            "[[models]]\nname = 'a'\nsource = 'embedded'\n[[models]]\nname = 'b'\nsource = 'embedded'\nwidth = 100\n",
            "line 7: width of model 2: 100 is not a multiple of 8.",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'embedded'\nstepps = 1\n",
            "line 4: stepps of model 1: there is no such setting; did you mean steps?",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\n[[models]]\nname = 'b'\nsource = 'x'\n"
            "[[models.loras]]\nname = 'ink'\nsource = 'y'\n[[models.loras]]\nname = 'clay'\nsource = 'y'\nwait = 2\n",
            "line 13: wait of LoRA 2 of model 2: there is no such setting; did you mean weight?",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\nloras = [{name = 'l', source = 'y'}, {name = 'l', source = 'z'}]\n",
            "two LoRAs have the name 'l'",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\ndraft_steps = 0\n",
            "line 4: draft_steps of model 1: 0 is too",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\nsteps = 10\ndraft_steps = 11\n",
            "draft_steps is 11, and the model a usually has 10 steps: a draft may not have more.",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\ndraft_steps = 4\ndraft_lora = 'lcm'\n",
            "draft_lora names 'lcm', but the LoRAs of a are: none.",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\ndraft_steps = 4\ndraft_lora = 'lcm'\n"
            "loras = [{name = 'ink', source = 'y'}, {name = 'clay', source = 'y'}]\n",
            "draft_lora names 'lcm', but the LoRAs of a are: ink, clay.",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\ndraft_steps = 4\ndraft_lora = 'ink'\n"
            "loras = [{name = 'ink', source = 'y', trigger = 'in ink'}]\n",
            "draft_lora names 'ink', which has a trigger; take a LoRA that needs no words.",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\ndraft_lora = 'ink'\nloras = [{name = 'ink', source = 'y'}]\n",
            "draft_lora counts only with draft_steps: say how many steps a draft has.",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\ndraft_guidance_scale = 1.0\n",
            "draft_guidance_scale counts only with draft_steps",
        ),
        ("[[models]]\nname = 'A b'\nsource = 'x'\n", "line 2: name of model 1: this name is 1 to 32 lower-case"),
        (
            "[[models]]\nname = 'a'\nsource = 'x'\nguidance_scale = nan\n",
            "line 4: guidance_scale of model 1: nan does",
        ),
        (
            "[[models]]\nname = 'a'\nsource = 'x/y'\n[[models]]\nname = 'a'\nsource = 'x/z'\n",
            "two models have the name 'a'; give each its own name.",
        ),
        (
            "[[models]]\nname = 'a'\nsource = '~nobody-by-this-name/x'\n",
            "model a: ~nobody-by-this-name/x starts with a home folder that does not exist.",
        ),
        ("[limits\npace = 3\n", "config.toml is not valid TOML: Expected ']' at the end of a table"),
        ("pace = 3\npace = 4\n", "config.toml is not valid TOML: Cannot overwrite a value (at line 2"),
        (b"data = '\xff'\n", "config.toml is not UTF-8 text: save it as UTF-8."),
        ("data = 'x'\n".encode("utf-16"), "config.toml is not UTF-8 text: save it as UTF-8."),
        (
            '[[models]]\nname = "a"\nsource = "embedded"\nmemory = ["3bit"]\n',
            "line 4: memory of model 1: memory '3bit' does not exist; there is: 8bit, 4bit, text-when-needed, "
            "text-on-cpu, offload; did you mean 8bit?",
        ),
        (
            '[[models]]\nname = "a"\nsource = "embedded"\nmemory = 4\n',
            "line 4: memory of model 1: memory is a list of names; there is: 8bit, 4bit, text-when-needed, "
            "text-on-cpu, offload.",
        ),
        (
            '[[models]]\nname = "a"\nsource = "embedded"\nmemory = ["4bit", "8bit"]\n',
            "line 4: memory of model 1: memory cannot be both 8bit and 4bit: choose one of them.",
        ),
    ],
)
def test_what_is_wrong_is_named_by_key_and_line(written: Any, content: str | bytes, words: str) -> None:
    assert words in complaint(written(content))


def _settings(section: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """The keys of every setting of a section and of the sections in it; models are left out."""
    for name, field in section.model_fields.items():
        if name != "models":
            yield (name,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, *rest) for rest in _settings(field.annotation))


@pytest.mark.parametrize("value", ["'x'", "-1", "1_000_000_000_000", "1.5", "[]", "{}", "true", "nan", "['x']", "'\n'"])
def test_no_complaint_is_in_the_words_of_the_library(written: Any, value: str) -> None:
    texts = ["".join(f"[{part}]\n" for part in keys[:-1]) + f"{keys[-1]} = {value}\n" for keys in _settings(Config)]
    texts += [
        f"[[models]]\nname = 'a'\nsource = 'x'\n{more}{key} = {value}\n"
        for more, section in (
            ("", ModelConfig),
            ("[[models.loras]]\nname = 'a'\nsource = 'x'\n", LoraConfig),
            ("[[models.controlnets]]\nname = 'a'\nsource = 'x'\n", ControlNetConfig),
        )
        for key in section.model_fields
        if key not in ("name", "source")
    ]
    complaints = []
    for text in texts:
        try:
            load_config(written(text))
        except ConfigError as error:
            complaints.append(str(error))
    assert complaints
    for words in complaints:
        assert not re.search("nput should|Input is|ield required|hould have|something else|Error", words), words


@pytest.mark.parametrize(("name", "words"), [("none.toml", "No such file"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, words: str) -> None:
    assert complaint(tmp_path / name) == f"{tmp_path / name} cannot be read: {words}{' or directory' if name else ''}."


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("ATELIER_LIMITS__PACE", "7", lambda config: config.limits.pace == 7),
        ("atelier_limits__pace", "7", lambda config: config.limits.pace == 7),
        ("ATELIER_LIMITS", '{"pace": 7}', lambda config: config.limits.pace == 7),
        ("ATELIER_DATA", "/srv/atelier", lambda config: config.data == Path("/srv/atelier")),
        ("ATELIER_LOG_LEVEL", "debug", lambda config: config.log_level == "debug"),
        ("ATELIER_DISCORD__COMMAND", "paint", lambda config: config.discord.command == "paint"),
        ("ATELIER_METRICS__LISTEN", "[::1]:9464", lambda config: config.metrics.listen == "[::1]:9464"),
        ("ATELIER_ENGINE__DEVICE", "cpu", lambda config: config.engine.device == "cpu"),
        (
            "ATELIER_MODELS",
            '[{"name": "a", "source": "org/a"}]',
            lambda config: [model.name for model in config.models] == ["a"],
        ),
    ],
)
def test_the_environment_wins_over_the_file(
    written: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, read: Any
) -> None:
    path = written("[limits]\npace = 3\ndepth = 9\n")
    assert not read(load_config(path))
    monkeypatch.setenv(variable, value)
    assert read(load_config(path))
    assert load_config(path).limits.depth == 9, "what the variable does not name stays"


@pytest.mark.parametrize("content", ["", "[limits]\npace = 3\n"])
@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        (
            "ATELIER_LIMITS__PACE",
            "many",
            "environment variable ATELIER_LIMITS__PACE: 'many' does not work here",
        ),
        ("ATELIER_LIMITS__PASE", "3", "environment variable ATELIER_LIMITS__PASE: there is no such setting; did you"),
        (
            "ATELIER_LOG_LEVEL",
            "loud",
            "environment variable ATELIER_LOG_LEVEL: 'loud' does not work here; choose 'debug'",
        ),
        ("ATELIER_MODELS", "emoji", 'environment variables ATELIER_*: error parsing value for field "models"'),
        ("ATELIER_LIMITS", "{", 'environment variables ATELIER_*: error parsing value for field "limits"'),
    ],
)
def test_what_is_wrong_in_the_environment_is_not_blamed_on_the_file(
    written: Any, monkeypatch: pytest.MonkeyPatch, content: str, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert complaint(written(content)).startswith(words)
    assert complaint(None).startswith(words)


@pytest.mark.parametrize(
    ("source", "located", "is_hub_id"),
    [
        ("embedded", "embedded", False),
        ("org/name", "org/name", True),
        ("CompVis/stable-diffusion-v1-4", "CompVis/stable-diffusion-v1-4", True),
        ("models/there", "{folder}/models/there", False),
        ("models/mine.safetensors", "{folder}/models/mine.safetensors", False),
        ("mine.safetensors", "{folder}/mine.safetensors", False),
        ("./models/missing", "{folder}/models/missing", False),
        ("../missing", "{parent}/missing", False),
        ("/srv/models/x", "/srv/models/x", False),
        ("~/models/x", "{home}/models/x", False),
        ("https://example.org/x", "https://example.org/x", False),
    ],
)
def test_a_models_source_is_the_embedded_one_a_path_from_the_files_folder_or_a_hub_id(
    written: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    located: str,
    is_hub_id: bool,
) -> None:
    (tmp_path / "models" / "there").mkdir(parents=True)
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/host")
    (model,) = load_config(written(f"[[models]]\nname = 'a'\nsource = '{source}'\n")).models
    assert model.source == located.format(folder=tmp_path, parent=tmp_path.parent, home="/home/host")
    assert model.is_hub_id is is_hub_id
    assert model.is_embedded is (source == "embedded")
    assert model.is_single_file is source.endswith(".safetensors")


@pytest.mark.parametrize(("config", "located"), [("arch", "{folder}/arch"), ("org/name", "org/name")])
def test_a_single_files_architecture_is_found_the_same_way(
    written: Any, tmp_path: Path, config: str, located: str
) -> None:
    (tmp_path / "arch").mkdir()
    text = f"[[models]]\nname = 'a'\nsource = 'a.safetensors'\nconfig = '{config}'\n"
    assert load_config(written(text)).models[0].config == located.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("written_path", "located"),
    [
        ("", ""),
        ("nets/4x.safetensors", "{folder}/nets/4x.safetensors"),
        ("../4x.safetensors", "{parent}/4x.safetensors"),
        ("~/4x.safetensors", "/home/host/4x.safetensors"),
        ("/srv/4x.safetensors", "/srv/4x.safetensors"),
    ],
)
def test_the_upscaler_is_a_path_from_the_files_folder(
    written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_path: str, located: str
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/host")
    config = load_config(written(f"[engine]\nupscaler = '{written_path}'\n"))
    assert config.engine.upscaler == located.format(folder=tmp_path, parent=tmp_path.parent)


@pytest.mark.parametrize("path", ["4x.pth", "nets", "org/name"])
def test_an_upscaler_of_another_kind_is_refused(written: Any, path: str) -> None:
    words = complaint(written(f"[engine]\nthreads = 1\nupscaler = '{path}'\n"))
    assert f"line 3: engine.upscaler: {path} is not a .safetensors file" in words


def test_settings_cannot_be_changed_afterwards() -> None:
    config = load_config(None)
    for section, name in ((config, "data"), (config.limits, "pace"), (config.models[0], "steps")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(section, name, 1)


@pytest.mark.parametrize(
    ("environ", "content", "token"),
    [
        ({"DISCORD_TOKEN": "abc"}, None, "abc"),
        ({"DISCORD_TOKEN": " abc\n"}, None, "abc"),
        ({"DISCORD_TOKEN": "abc", "DISCORD_TOKEN_FILE": "{file}"}, b"def", "abc"),
        ({"DISCORD_TOKEN_FILE": "{file}"}, b"def\n", "def"),
        ({"DISCORD_TOKEN": "  ", "DISCORD_TOKEN_FILE": "{file}"}, b"def\r\n", "def"),
        ({"DISCORD_TOKEN_FILE": "{file}"}, b"\xef\xbb\xbfdef\r\n", "def"),
    ],
)
def test_the_token_comes_from_the_variable_or_else_from_the_file(
    tmp_path: Path, environ: dict[str, str], content: bytes | None, token: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content or b"")
    assert read_token({name: value.format(file=file) for name, value in environ.items()}) == token


@pytest.mark.parametrize(
    ("environ", "content", "key"),
    [
        ({}, None, None),
        ({"ATELIER_DATABASE_KEY": ""}, None, None),
        ({"ATELIER_DATABASE_KEY": "correct horse"}, None, "correct horse"),
        ({"ATELIER_DATABASE_KEY_FILE": "{file}"}, b"'; DROP\n", "'; DROP"),
    ],
)
def test_the_key_of_the_database_comes_from_the_variable_or_else_from_the_file(
    tmp_path: Path, environ: dict[str, str], content: bytes | None, key: str | None
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content or b"")
    assert read_database_key({name: value.format(file=file) for name, value in environ.items()}) == key


def test_a_key_file_that_holds_no_key_is_refused_and_a_key_is_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(" ")
    with pytest.raises(ConfigError, match="key is empty; put the key of the database into it"):
        read_database_key({"ATELIER_DATABASE_KEY_FILE": str(file)})
    monkeypatch.setenv("ATELIER_DATABASE_KEY", "correct horse")
    assert "correct horse" not in repr(load_config(None))
    config = tmp_path / "config.toml"
    config.write_text('database_key = "correct horse"')
    with pytest.raises(ConfigError, match="database_key: there is no such setting"):
        load_config(config)


@pytest.mark.parametrize(
    ("environ", "content", "words"),
    [
        ({}, None, "There is no bot token: set DISCORD_TOKEN .* run: atelier try"),
        ({"DISCORD_TOKEN": " "}, None, "There is no bot token"),
        ({"DISCORD_TOKEN_FILE": "{file}"}, None, "DISCORD_TOKEN_FILE: .*token cannot be read .No such file"),
        ({"DISCORD_TOKEN_FILE": "{file}"}, b" \n", "DISCORD_TOKEN_FILE: .*token is empty; put the bot token into it"),
        ({"DISCORD_TOKEN_FILE": "{file}"}, "abc".encode("utf-16"), "DISCORD_TOKEN_FILE: .*token is not UTF-8 text"),
    ],
)
def test_a_missing_token_is_said_in_words(
    tmp_path: Path, environ: dict[str, str], content: bytes | None, words: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_token({name: value.format(file=file) for name, value in environ.items()})


@pytest.mark.parametrize(
    ("text", "environ", "words"),
    [
        ("", {"ATELIER_LIMTS__PACE": "3"}, "environment variable ATELIER_LIMTS__PACE: there is no such setting; did"),
        ("_env_file = 3\n", {}, "config.toml, line 1: _env_file: there is no such setting."),
        ("\nlimit = 3\n", {}, "config.toml, line 2: limit: there is no such setting; did you mean limits?"),
    ],
)
def test_a_top_level_name_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, environ: dict[str, str], words: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_config(path)


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_setting_with_a_former_name_is_refused_with_the_new_one(tmp_path: Path, value: str) -> None:
    (tmp_path / "config.toml").write_text(f"[engine]\nembed_parameters = {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.toml")
    assert 'write "full" for true and "none" for false' in str(caught.value)
    assert "config.toml" in str(caught.value)


PROVIDER = '[[providers]]\nname = "far"\n'
OPENAI_MODEL = '[[models]]\nname = "two"\nprovider = "far"\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            f'{PROVIDER}{OPENAI_MODEL}source = "gpt-image-1"\n',
            "OpenAI's gpt-image-1 was shut down on 23 October 2026; take gpt-image-2.5-flare or gpt-image-2.5-sunburst",
        ),
        (f'{PROVIDER}{OPENAI_MODEL}source = "dall-e-3"\n', "was shut down on 12 May 2026; take gpt-image-2.5-flare"),
        (f'{OPENAI_MODEL}source = "x"\n', "model two names the provider 'far'; there is: none"),
        (f'{PROVIDER}{OPENAI_MODEL}source = "x"\nupscale = 4\n', "upscale is for models that this machine paints with"),
        ('[[models]]\nname = "a"\nsource = "b/c"\napi = { price = 1 }\n', "api is about models of a provider"),
        (f"{PROVIDER}{PROVIDER}", "two providers have the name 'far'"),
        ('[[providers]]\nname = "local"\n', "local is this machine itself; give the provider another name"),
        ('[[providers]]\nname = "far"\nbase_url = "http://me:secret@far/v1"\n', "without a key"),
        ('[[providers]]\nname = "far"\nbase_url = "http://far:99999/v1"\n', "base_url is the address of an API"),
        ('[[providers]]\nname = "far"\nbase_url = "http://far /v1"\n', "base_url is the address of an API"),
        ('[[providers]]\nname = "far"\nbase_url = "http://[far/v1"\n', "base_url is the address of an API"),
        ('[[providers]]\nname = "far"\nslots = 0\n', "line 3: slots of provider 1: 0 is too small"),
        (
            f'{PROVIDER}{OPENAI_MODEL}source = "x"\napi = {{ options = ["lora"] }}\n',
            "'lora' is no option of a server; there is: seed, steps, guidance_scale, negative_prompt",
        ),
        (
            f'{PROVIDER}{OPENAI_MODEL}source = "x"\n[models.api]\nprice = 1\nprice_text = 2\n',
            "a model has a price for a picture, or prices for tokens, but not both",
        ),
    ],
)
def test_a_wrong_provider_is_explained(written: Any, content: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(written(content))
    assert words in str(refused.value)


def test_a_shut_down_model_may_live_on_elsewhere(written: Any) -> None:
    text = f'{PROVIDER}base_url = "http://localhost:8080/v1"\n{OPENAI_MODEL}source = "gpt-image-1"\n'
    assert load_config(written(text)).remote_models[0].source == "gpt-image-1"
