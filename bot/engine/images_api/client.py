"""Asks one provider for pictures, with OpenAI's own client. It repeats nothing by itself: `engine.py` decides that.

Only the words of the request and its pictures are sent; nothing says who asks or where.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

from bot.engine.images_api import failures
from bot.engine.images_api.answers import MOST_BYTES, Answer, Partial, error_code, may_fetch, read, read_event
from bot.engine.images_api.capabilities import Capabilities
from bot.engine.images_api.failures import ProviderError, failure_of
from bot.jobs import GenerationRequest
from bot.provider_config import ProviderConfig

_CONNECT_SECONDS = 15.0
_FETCH_SECONDS = 60.0
_FETCHES = 3
_REDIRECTS = 3
_MOST_OF_ANSWER = 6 * MOST_BYTES
"""Bytes of a whole answer: base64 makes four pictures a third longer."""
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class _TooLarge(httpx2.HTTPError):
    """More bytes came than are taken."""


class ApiClient:
    """The connections to one provider."""

    def __init__(self, provider: ProviderConfig, key: str | None) -> None:
        self._name, self._base_url, self._seconds = provider.name, provider.base_url, float(provider.timeout)
        self._client = openai.AsyncOpenAI(
            # The client refuses to be made without one; a server that needs none ignores it.
            api_key=key or "none",
            base_url=provider.base_url,
            # Those in the environment are for other programs, and would tell another server of them.
            organization="",
            project="",
            max_retries=0,
            # What is packed could fill the memory when it is unpacked.
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(
                # Words and pictures go to the server that the host named, and not where that one sends them.
                follow_redirects=False,
                # A connection that is kept may be closed just when a request is sent. Then nobody knows whether the
                # server has it, and a picture takes longer than a new connection.
                limits=httpx2.Limits(max_keepalive_connections=0),
                event_hooks={"response": [_bound]},
            ),
            timeout=httpx2.Timeout(self._seconds, connect=_CONNECT_SECONDS),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def paint(
        self, request: GenerationRequest, model: str, able: Capabilities, pictures: Sequence[bytes], mask: bytes
    ) -> AsyncGenerator[Partial | Answer, None]:
        """Send a request once; yields partial images, if there are any, and the answer last. Raises ProviderError."""
        arguments = _arguments(request, model, able)
        if pictures:
            files = [(f"{number}.png", data, "image/png") for number, data in enumerate(pictures, start=1)]
            arguments["image"] = files[0] if len(files) == 1 else files
            if mask:
                arguments["mask"] = ("mask.png", mask, "image/png")
        images: Any = self._client.images if arguments.get("stream") else self._client.images.with_raw_response
        call = images.edit if pictures else images.generate
        async with self._translated(request.model), asyncio.timeout(self._seconds) as limit:
            answer = await call(**arguments)
            if not arguments.get("stream"):
                yield await self._answer(answer.http_response.content, request.model)
                return
            async with answer:
                if "json" in answer.response.headers.get("content-type", ""):
                    # The server knows no streams.
                    yield await self._answer(await answer.response.aread(), request.model)
                    return
                previews = 0
                async for event in answer:
                    found = await asyncio.to_thread(read_event, event)
                    if isinstance(found, Partial):
                        previews += 1
                        # More than were asked for give the server no more time.
                        found = found if previews <= able.previews else None
                    if found is None:
                        continue
                    # What is done with it meanwhile is not the provider's time.
                    limit.reschedule(None)
                    yield found
                    limit.reschedule(asyncio.get_running_loop().time() + self._seconds)
                    if isinstance(found, Answer):
                        return
            raise ProviderError(failures.lost(self._name))

    async def _answer(self, body: bytes, model: str) -> Answer:
        """The answer in a body of JSON. Raises ProviderError for an error that only the body says to be one.

        It is read in another thread, because it may have many megabytes; there it holds up the others less.
        """
        found = await asyncio.to_thread(json.loads, body)
        if (code := error_code(found)) is not None:
            raise ProviderError(failure_of(None, code, self._name, model))
        return await asyncio.to_thread(read, found, self._base_url)

    async def fetch(self, address: str) -> bytes:
        """The picture at an address that the provider answered with. The key is not sent along. Raises ProviderError.

        It was painted, so it is tried a few times.
        """
        for tried in range(_FETCHES):
            try:
                async with asyncio.timeout(_FETCH_SECONDS), httpx2.AsyncClient() as client:
                    return await self._fetched(client, address)
            except _TooLarge:
                break
            except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError):
                await asyncio.sleep(tried)
        raise ProviderError(failures.no_picture(self._name))

    async def _fetched(self, client: httpx2.AsyncClient, address: str) -> bytes:
        """What is at an address, or where it leads. Raises HTTPError, and InvalidURL where it may not be fetched."""
        for _ in range(_REDIRECTS + 1):
            if not may_fetch(address, self._base_url):
                raise httpx2.InvalidURL("a picture is not fetched from there")
            async with client.stream("GET", address) as response:
                if response.next_request is None:
                    response.raise_for_status()
                    return b"".join([chunk async for chunk in _at_most(MOST_BYTES, response.aiter_bytes())])
                address = str(response.next_request.url)
        raise httpx2.TooManyRedirects("the picture is somewhere else again and again")

    @asynccontextmanager
    async def _translated(self, model: str) -> AsyncIterator[None]:
        """Turn the errors of the client into ProviderError."""
        try:
            yield
        except (TimeoutError, openai.APITimeoutError) as error:
            if isinstance(error.__cause__, _NEVER_SENT):
                raise ProviderError(failures.unreachable(self._name)) from None
            raise ProviderError(failures.late(self._name, self._seconds)) from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, _TooLarge):
                raise ProviderError(failures.no_picture(self._name)) from None
            failure = failures.unreachable if isinstance(error.__cause__, _NEVER_SENT) else failures.lost
            raise ProviderError(failure(self._name)) from None
        except openai.APIStatusError as error:
            retry_after = error.response.headers.get("retry-after")
            raise ProviderError(failure_of(error.status_code, error.code, self._name, model), retry_after) from None
        except openai.APIError as error:
            raise ProviderError(failure_of(None, error.code, self._name, model)) from None
        except _TooLarge:
            raise ProviderError(failures.no_picture(self._name)) from None
        except httpx2.HTTPError:
            raise ProviderError(failures.lost(self._name)) from None
        except (ValueError, RecursionError):
            # An answer that says it is JSON and is not, or is nested without end.
            raise ProviderError(failures.no_picture(self._name)) from None


def _arguments(request: GenerationRequest, model: str, able: Capabilities) -> dict[str, Any]:
    """What is sent for a request, beside its pictures."""
    images = request.num_images_per_prompt
    sent: dict[str, Any] = {
        "model": model,
        "prompt": request.prompt,
        "n": images,
        "size": f"{request.width}x{request.height}",
    }
    if able.quality:
        sent["quality"] = able.quality
    if able.background:
        sent["background"] = able.background
    if "png" in able.formats:
        sent["output_format"] = "png"
    else:
        # Servers other than OpenAI's may answer with an address instead.
        sent["response_format"] = "b64_json"
    # A stream has one picture.
    if able.previews and images == 1:
        sent |= {"stream": True, "partial_images": able.previews}
    beside = {
        "seed": request.seed,
        "steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "negative_prompt": request.negative_prompt,
    }
    names = {"steps": "num_inference_steps"}
    extra = {names.get(name, name): value for name, value in beside.items() if name in able.options and value != ""}
    if extra:
        sent["extra_body"] = extra
    return sent


async def _bound(response: httpx2.Response) -> None:
    """Let an answer end with an error where it is too large, before it fills the memory. Raises _TooLarge."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _TooLarge("what came is packed, and may be of any size")
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - the client is an asynchronous one
    response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of an answer. Raises _TooLarge."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _at_most(_MOST_OF_ANSWER, aiter(self._stream))

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _at_most(most: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, which have so many bytes together. Raises _TooLarge."""
    count = 0
    async for chunk in chunks:
        count += len(chunk)
        if count > most:
            raise _TooLarge("what came is too large")
        yield chunk
