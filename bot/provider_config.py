"""The host's settings for models that other servers paint, through the OpenAI Images API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_OPENAI_HOST = "api.openai.com"
OPENAI = f"https://{_OPENAI_HOST}/v1"
"""The address of OpenAI's own API."""

SENDABLE = ("seed", "steps", "guidance_scale", "negative_prompt")
"""Options that some servers take and OpenAI does not."""

_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_SIZE = re.compile(r"[1-9][0-9]{1,3}x[1-9][0-9]{1,3}")


class Section(BaseModel):
    """One table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _provider_name(name: str) -> str:
    if not _PROVIDER_NAME.fullmatch(name):
        raise ValueError("the name of a provider is 1 to 32 lower-case letters, digits or _, like openai")
    if name == "local":
        raise ValueError("local is this machine itself; give the provider another name")
    return name


def _address(url: str) -> str:
    if not _is_address(url):
        raise ValueError(f"base_url is the address of an API, like {OPENAI} or http://127.0.0.1:8080/v1, without a key")
    return url.rstrip("/")


def _is_address(url: str) -> bool:
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        # A port or an address in brackets that is none.
        return False
    has_more = parts.username or parts.password or parts.query or parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and has_port and not has_more


def _sizes(sizes: tuple[str, ...]) -> tuple[str, ...]:
    for size in sizes:
        if not _SIZE.fullmatch(size):
            raise ValueError(f"{size!r} is no size in pixels, like 1024x1024")
    return sizes


def _sendable(options: tuple[str, ...]) -> tuple[str, ...]:
    for option in options:
        if option not in SENDABLE:
            raise ValueError(f"{option!r} is no option of a server; there is: {', '.join(SENDABLE)}")
    return options


Dollars = Annotated[Decimal, Field(ge=0, le=1000, max_digits=12, decimal_places=6)]


class ProviderConfig(Section):
    """A server that paints through the OpenAI Images API. Its key is in the environment, never here."""

    name: Annotated[str, AfterValidator(_provider_name)]
    base_url: Annotated[str, AfterValidator(_address)] = OPENAI
    slots: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests that the server paints at the same time."""
    per_minute: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Requests that are sent in a minute."""
    timeout: Annotated[int, Field(ge=5, le=3600)] = 300
    """Seconds after which an answer is no longer waited for."""

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI itself, which answers nobody without a key; also at its addresses for regions."""
        host = urlsplit(self.base_url).hostname or ""
        return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")


class ApiConfig(Section):
    """What a model of a provider can do and costs. What is left out is known for OpenAI's models, and usual else."""

    quality: Annotated[str, Field(pattern=r"^[a-z]{0,16}$")] = ""
    """The quality that is asked for; empty is medium for the models of OpenAI that are known, and nothing is said to
    other servers."""
    background: Literal["auto", "opaque"] = "auto"
    previews: Annotated[int, Field(ge=0, le=3)] = 1
    """Partial images that are asked for, as previews; they cost a little."""
    sizes: Annotated[tuple[str, ...], AfterValidator(_sizes)] = ()
    """The sizes that it paints, like 1024x1024; empty is any size."""
    images: Annotated[int, Field(ge=1, le=4)] | None = None
    """The most pictures of one request."""
    options: Annotated[tuple[str, ...], AfterValidator(_sendable)] | None = None
    """What may be sent beside the words, the size and the number of pictures."""
    edits: bool | None = None
    """Whether it starts from pictures."""
    masks: bool | None = None
    """Whether it repaints the part of a picture that a mask shows."""
    price: Dollars | None = None
    """US dollars for a picture, for servers that charge by the picture."""
    price_text: Dollars | None = None
    """US dollars for a million tokens of words, for servers that charge by the token."""
    price_image: Dollars | None = None
    """US dollars for a million tokens of pictures that are sent."""
    price_output: Dollars | None = None
    """US dollars for a million tokens that come back: pictures, and words if they have no other price."""
    price_output_text: Dollars | None = None
    """US dollars for a million tokens of words that come back."""

    @model_validator(mode="after")
    def _one_kind_of_price(self) -> Self:
        if self.price is not None and any(
            each is not None for each in (self.price_text, self.price_image, self.price_output, self.price_output_text)
        ):
            raise ValueError("a model has a price for a picture, or prices for tokens, but not both")
        return self


RETIRED = {
    "gpt-image-1": ("was shut down on 23 October 2026", "gpt-image-2.5-flare or gpt-image-2.5-sunburst"),
    "dall-e-2": ("was shut down on 12 May 2026", "gpt-image-2.5-flare"),
    "dall-e-3": ("was shut down on 12 May 2026", "gpt-image-2.5-flare"),
}
"""Models of OpenAI that are gone: what happened, and what to take instead."""


def with_usual_values(values: Any) -> Any:
    """The values of a model, with what is usual for one of a provider where the host says nothing."""
    if not isinstance(values, dict) or not values.get("provider"):
        return values
    return {"width": 1024, "height": 1024, "steps": 1, "guidance_scale": 1.0, **values}


_LOCAL_ONLY = ("config", "memory", "loras", "controlnets", "draft_steps", "upscale")


def check_model(model: Any) -> None:
    """Raise ValueError if a model of a provider has settings for a model of this machine, or the other way round."""
    if not model.provider:
        if model.api != ApiConfig():
            raise ValueError("api is about models of a provider: name the provider, or leave api out")
        return
    for key in _LOCAL_ONLY:
        if getattr(model, key) != type(model).model_fields[key].default:
            raise ValueError(f"{key} is for models that this machine paints with; leave it out, or the provider")


def check_source(name: str, source: str, provider: str, providers: Sequence[ProviderConfig]) -> None:
    """Raise ValueError if a model names a provider that is not there, or a model of OpenAI that is gone."""
    known = {each.name: each for each in providers}
    if provider not in known:
        raise ValueError(f"model {name} names the provider {provider!r}; there is: {', '.join(known) or 'none'}")
    if source in RETIRED and known[provider].is_openai:
        what, instead = RETIRED[source]
        raise ValueError(f"model {name}: OpenAI's {source} {what}; take {instead} as its source")
