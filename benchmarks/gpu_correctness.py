"""Is what the engine does right on this device? Part 2 of `benchmarks.gpu`, with the model in the box.

Everything goes through the engine's own model store, batcher, rows and graphs. It is compared with the pipeline's own
call on the same device, without anything else in the batch.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import io
import os
import random
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import peft
import psutil
import torch
from PIL import Image

from benchmarks.gpu_child import Book, BrokenError, Scene, SkippedError, release
from bot.config import EMBEDDED_MODEL, Config, ControlNetConfig, EngineConfig, LoraConfig, ModelConfig
from bot.engine import Finished, Order, Preview, Progress
from bot.engine.catalog import SAMPLERS
from bot.engine.local import LocalEngine, Timeouts
from bot.errors import EngineDied, PaintFailed
from bot.jobs import GenerationRequest, JobId, UserId
from bot.worker import rows
from bot.worker.acceleration import CudaRecorder, Graphs
from bot.worker.batching import StepBatcher
from bot.worker.calls import Call, Cancel, Cancelled, Event, Returned
from bot.worker.inputs import decode
from bot.worker.pipelines import ModelStore
from bot.worker.proving import Prover
from bot.worker.row_policy import PlainRows

SINGLE = 1e-4
"""How far a picture may be from itself alone in single precision, of 1.0, anywhere."""
HALF = 2 / 255
"""The same in half precision."""
SIDE = 128
PLAIN, WORN = "emoji", "worn"
"""The model in the box as it is, and with a LoRA and a ControlNet of random weights."""
_PROMPTS = ("a fox", "a red apple on a blue background", "a rocket", "a house and a tree")


def correctness(book: Book, scene: Scene) -> None:
    """All checks, most important first."""
    with tempfile.TemporaryDirectory() as folder:
        diffusers.utils.logging.disable_progress_bar()
        diffusers.utils.logging.set_verbosity_error()
        box = Box(Path(folder), scene)
        single, half = "float32", "bfloat16"
        limit = None if scene.toy else 30.0
        book.check(
            "single: in a changing batch each equals itself alone", lambda: box.crowd(single, eager=True), limit=limit
        )
        book.check("single: and from graphs", lambda: box.crowd(single, eager=False), limit=limit)
        book.check("engine process: paints, shows previews, frees its memory when killed", lambda: box.engine(book))
        book.check(
            "bfloat16: in a changing batch, from graphs, each equals itself alone", lambda: box.crowd(half), limit=limit
        )
        book.check("single: LoRAs by row beside rows without", lambda: box.adapters(single), limit=limit)
        book.check("bfloat16: LoRAs by row beside rows without", lambda: box.adapters(half), limit=limit)
        book.check("single: fused and channels last equals as loaded", lambda: box.layouts(single), limit=limit)
        usual = half if scene.device == "cuda" else single
        book.check("a size that memory does not suffice for loses nobody", lambda: box.memory(usual), limit=limit)
        if scene.device == "cuda":
            # A processor has no fast way for it.
            book.check(
                "float16: in a changing batch, from graphs, each equals itself alone", lambda: box.crowd("float16")
            )
        book.check("single: compiled equals as it is", lambda: box.compiled(single), needs=0 if scene.toy else 20)


class Again:
    """Stands in for a recorder of CUDA graphs elsewhere: runs the function again, into the same place."""

    def __call__(self, function: Callable[[], Any]) -> Callable[[], Any]:
        output = function()

        def replay() -> Any:
            for place, new in zip(_tensors(output), _tensors(function()), strict=True):
                place.copy_(new)
            return output

        return replay


class Box:
    """The model in the box on a device, in whichever precision."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        self._folder, self._scene = folder, scene
        self._studios: dict[str, ModelStore] = {}
        self._alone: dict[tuple[str, GenerationRequest], np.ndarray[Any, Any]] = {}

    @cached_property
    def uploads(self) -> dict[str, bytes]:
        """A picture, a mask and edges, by their sha256."""
        ramp = np.linspace(0, 255, SIDE, dtype="uint8")
        picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)
        mask = np.zeros((SIDE, SIDE), "uint8")
        mask[32:96, 32:96] = 255
        edges = np.zeros((SIDE, SIDE, 3), "uint8")
        edges[::16], edges[:, ::16] = 255, 255
        return {hashlib.sha256(data).hexdigest(): data for data in map(_png, (picture, mask, edges))}

    @cached_property
    def models(self) -> list[ModelConfig]:
        """The plain one, which is fused, and the one with a LoRA and a ControlNet."""
        plain: Any = diffusers.DiffusionPipeline.from_pretrained(_source(), use_safetensors=True)
        torch.manual_seed(3)
        # Its picture is halved once less than it has widths, as often as the VAE halves what it encodes.
        widths = tuple(16 * 2**level for level in range(plain.vae_scale_factor.bit_length()))
        net = diffusers.ControlNetModel.from_unet(plain.unet, conditioning_embedding_out_channels=widths)
        for parameter in (*net.controlnet_down_blocks.parameters(), *net.controlnet_mid_block.parameters()):
            # It starts as one that changes nothing.
            torch.nn.init.normal_(parameter, std=0.02)
        net.save_pretrained(self._folder / "edges")
        lora = LoraConfig(name="ink", source=str(_make_lora(plain, self._folder / "ink.safetensors")))
        held = ControlNetConfig(name="edges", source=str(self._folder / "edges"))
        more = {"name": WORN, "source": _source(), "loras": (lora,), "controlnets": (held,)}
        return [EMBEDDED_MODEL, EMBEDDED_MODEL.model_copy(update=more)]

    def store(self, dtype: str) -> ModelStore:
        """The engine's store in a precision; its products of matrices are exact in single.

        The check for nudity runs on the CPU, and what it would hide could not be compared.
        """
        if dtype not in self._studios:
            settings = EngineConfig(device=self._scene.device, dtype=dtype, threads=1, safety="off")
            store = self._studios[dtype] = ModelStore(self.models, settings)
            if self._scene.device != "cuda":
                store.graphs = Graphs(Again(), prover=Prover(clock=lambda: 0.0))
            for model in self.models:
                store.load(model.name)
        # What loading a model has set to "high" for speed. TF32 is not single precision.
        torch.set_float32_matmul_precision("highest" if dtype == "float32" else "high")
        torch.backends.cudnn.allow_tf32 = dtype != "float32"
        return self._studios[dtype]

    def requests(self, *, few: bool = False) -> list[GenerationRequest]:
        """Every sampler with words alone, and every other kind with two samplers."""
        toy = self._scene.toy
        image, mask, edges = self.uploads
        dice = random.Random(2)
        kinds: list[dict[str, Any]] = [
            {"image": image, "strength": 0.8},
            {"image": image, "mask_image": mask, "strength": 0.9},
            {"controlnet": "edges", "control_image": edges},
            {"controlnet": "edges", "control_image": edges, "image": image, "strength": 0.8},
            {"controlnet": "edges", "control_image": edges, "image": image, "mask_image": mask, "strength": 0.9},
        ]
        samplers = list(SAMPLERS)
        # A toy leaves the costly ones out.
        plain = samplers[4:] if toy else samplers
        cases: list[tuple[str, str, dict[str, Any]]] = [(PLAIN, sampler, {}) for sampler in plain]
        for number, kind in enumerate(kinds):
            chosen = samplers[2 * number % len(samplers)], samplers[(2 * number + 1) % len(samplers)]
            model = WORN if "controlnet" in kind else PLAIN
            cases += [(model, sampler, kind) for sampler in chosen[: 1 if toy else 2]]
        return [
            self._request(
                number,
                model=model,
                sampler=sampler,
                guidance_scale=dice.choice([1.0, 3.0, 3.0]),
                negative_prompt=dice.choice(["", "blue"]),
                num_inference_steps=3 if toy else dice.randint(6, 12),
                num_images_per_prompt=2 if number == 1 else 1,
                **kind,
            )
            for number, (model, sampler, kind) in enumerate(cases)
            if not (toy and few and number % 4)
        ]

    def _request(self, number: int, **changes: Any) -> GenerationRequest:
        first = GenerationRequest(
            prompt=_PROMPTS[number % len(_PROMPTS)],
            model=PLAIN,
            width=SIDE,
            height=SIDE,
            num_inference_steps=3 if self._scene.toy else 8,
            guidance_scale=3.0,
            seed=100 + number,
        )
        return replace(first, **changes)

    def crowd(self, dtype: str, *, eager: bool = False) -> str:
        """Requests of every kind that come and go."""
        store, requests = self.store(dtype), self.requests(few=dtype != "float32")
        dice = random.Random(1)
        script: dict[int, list[Call | Cancel]] = defaultdict(list)
        for number, request in enumerate(requests):
            script[dice.randint(0, len(requests) // 2)].append(self._call(store, request, number))
        leaving = replace(requests[0], num_inference_steps=50)
        script[2].append(self._call(store, leaving, "leaves"))
        script[6].append(Cancel("leaves"))
        graphs = store.graphs
        ends = played(script, PlainRows(store.row_loras.on_rows, rows.run_eagerly if eager else graphs))
        if not isinstance(ends["leaves"], Cancelled):
            raise BrokenError(f"what was cancelled ended as {ends['leaves']}")
        words = self._compare(dtype, requests, ends)
        if eager:
            return words
        recorded = [graph.replays for graph in graphs._graphs.values()]
        if not recorded or not sum(recorded):
            raise BrokenError(f"no graph was recorded and replayed; refused: {len(graphs._refused)}; {words}")
        return f"{words}; {len(recorded)} graphs, {sum(recorded)} replays, {len(graphs._refused)} refused"

    def adapters(self, dtype: str) -> str:
        """Rows with a LoRA of different weights, beside rows without one, in several kinds of requests."""
        store = self.store(dtype)
        image, mask, _ = self.uploads
        kinds: list[dict[str, Any]] = [{}, {"image": image, "strength": 0.8}, {"image": image, "mask_image": mask}]
        kinds = kinds[:1] if self._scene.toy else kinds
        worn = ((), (("ink", 1.0),), (("ink", 0.4),), (("ink", -0.7),))
        requests = [
            self._request(number, model=WORN, loras=loras, sampler="ddim" if number % 2 else "dpm++ 2m", **kind)
            for number, (kind, loras) in enumerate((kind, loras) for kind in kinds for loras in worn)
        ]
        calls: list[Call | Cancel] = [self._call(store, request, number) for number, request in enumerate(requests)]
        ends = played({0: calls[::2], 2: calls[1::2]}, PlainRows(store.row_loras.on_rows, store.graphs))
        words = self._compare(dtype, requests, ends)
        bare, dressed = (self._painted_alone(store, dtype, request) for request in requests[:2])
        changed = float(np.abs(bare - dressed).max())
        if changed < 10 * HALF:
            raise BrokenError(f"the LoRA changes nothing to speak of ({changed:.2g}); {words}")
        return words

    def layouts(self, dtype: str) -> str:
        """What is prepared for a GPU beside what diffusers loads."""
        store = self.store(dtype)
        plain: Any = diffusers.DiffusionPipeline.from_pretrained(
            _source(), use_safetensors=True, torch_dtype=store.machine.dtype
        ).to(self._scene.device)
        plain.set_progress_bar_config(disable=True)
        prepared = store.load(PLAIN).pipeline
        prepared.set_progress_bar_config(disable=True)
        requests = [self._request(number, sampler=sampler) for number, sampler in enumerate(("ddim", "euler"))]
        apart = []
        for request in requests:
            images = []
            for pipeline in (plain, prepared):
                pipeline.scheduler = store.scheduler(request)
                with torch.inference_mode():
                    images.append(np.asarray(pipeline(**store.arguments(request)).images))
            apart.append(float(np.abs(images[0] - images[1]).max()))
        fused = sum("to_qkv" in name for name, _ in prepared.unet.named_parameters())
        last = prepared.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        words = f"at most {max(apart):.2g} apart; {fused} fused matrices, channels last: {last}"
        if self._scene.device == "cuda" and not (fused and last):
            raise BrokenError(f"the pipeline was not prepared: {words}")
        if max(apart) > SINGLE:
            raise BrokenError(words)
        return words

    def memory(self, dtype: str) -> str:
        """A request too large for the memory fails alone among others."""
        store = self.store(dtype)
        bystanders = [self._request(number, sampler="ddim" if number % 2 else "euler") for number in range(4)]
        for request in bystanders:
            self._painted_alone(store, dtype, request)
        giant = self._request(9, width=16384, height=16384, prompt="a mountain")
        script: dict[int, list[Call | Cancel]] = {
            0: [self._call(store, request, number) for number, request in enumerate(bystanders[:2])],
            2: [self._call(store, giant, "giant")],
            3: [self._call(store, request, number) for number, request in enumerate(bystanders[2:], 2)],
        }
        store.graphs.clear()
        with _little_memory(self._scene.device, store.load(PLAIN).pipeline):
            ends = played(script, PlainRows(store.row_loras.on_rows, store.graphs))
        if isinstance(ends["giant"], Returned):
            raise SkippedError("it fitted after all: nothing was shown")
        words = self._compare(dtype, bystanders, ends)
        if not isinstance(ends["giant"].error, PaintFailed):  # type: ignore[union-attr]
            raise BrokenError(f"who asked for it is told no words but {ends['giant']}; {words}")
        more = self._compare(dtype, bystanders[:2], played({0: self._calls(store, bystanders[:2])}))
        return f"told: {ends['giant'].error}; bystanders: {words}; afterwards: {more}"  # type: ignore[union-attr]

    def compiled(self, dtype: str) -> str:
        """One forward by torch's compiler, as `engine.compile` has it."""
        store = self.store(dtype)
        cuda = self._scene.device == "cuda"
        graphs = Graphs(CudaRecorder() if cuda else Again(), backend="inductor" if cuda else "eager")
        requests = [self._request(number, sampler="ddim") for number in range(2)]
        played({0: self._calls(store, requests)}, PlainRows(run=graphs))
        started = time.monotonic()
        if not graphs.improve() or graphs._backend is None:
            raise BrokenError("it could not be compiled; the log says why")
        took = time.monotonic() - started
        words = self._compare(dtype, requests, played({0: self._calls(store, requests)}, PlainRows(run=graphs)))
        return f"{words}; compiling took {took:.0f} s"

    def engine(self, book: Book) -> str:
        """The real process from start to a violent end."""
        return asyncio.run(_engine_process(book, self._scene, self._folder / "data"))

    def _calls(self, store: ModelStore, requests: Sequence[GenerationRequest]) -> list[Call | Cancel]:
        return [self._call(store, request, number) for number, request in enumerate(requests)]

    def _call(self, store: ModelStore, request: GenerationRequest, call_id: int | str) -> Call:
        """The request as the loop gives it to the batcher."""
        return Call(
            call_id,
            hash(call_id) % 5,
            store.pipeline(request),
            store.scheduler(request),
            store.arguments(request, decode(request, self.uploads)),
            store.adapters(request),
            shape=request.work.shape,
        )

    def _painted_alone(self, store: ModelStore, dtype: str, request: GenerationRequest) -> np.ndarray[Any, Any]:
        """The pictures of the pipeline's own call, with no other request."""
        key = dtype, request
        if key not in self._alone:
            view = copy.copy(store.pipeline(request))
            view.scheduler = store.scheduler(request)
            view.set_progress_bar_config(disable=True)
            arguments = store.arguments(request, decode(request, self.uploads))
            with torch.inference_mode(), store.row_loras.on_all(store.adapters(request)):
                self._alone[key] = np.asarray(view(**arguments).images)
        return self._alone[key]

    def _compare(self, dtype: str, requests: Sequence[GenerationRequest], ends: dict[Any, Event]) -> str:
        """How far all are from themselves alone. Raises BrokenError when one is too far, or was not painted.

        In half precision two ways to add the same numbers differ, and a sampler may make more of it: what is as far
        from itself as that precision is from single has met nobody else's rows, and is told apart in words.
        """
        store, limit = self.store(dtype), SINGLE if dtype == "float32" else HALF
        far: list[tuple[float, float, GenerationRequest]] = []
        for number, request in enumerate(requests):
            end = ends.get(number)
            if not isinstance(end, Returned):
                raise BrokenError(f"{_name(request)} was not painted: {end}")
            image, alone = np.asarray(end.output.images), self._painted_alone(store, dtype, request)
            if image.shape != alone.shape or not np.isfinite(image).all() or not np.isfinite(alone).all():
                raise BrokenError(f"{_name(request)} is no picture: {image.shape}, finite: {np.isfinite(image).all()}")
            apart = np.abs(image - alone)
            far.append((float(apart.max()), float(apart.mean()), request))
        worst, _, whose = max(far, key=lambda entry: entry[0])
        mean = max(mean for _, mean, _ in far)
        words = (
            f"{len(far)} pictures, at most {worst:.2g} apart ({worst * 255:.2g}/255: {_name(whose)}), mean {mean:.2g}"
        )
        beyond = [entry for entry in far if entry[0] > limit]
        if not beyond:
            return words
        others = ", ".join(f"{_name(request)} {most:.2g} (mean {mean:.2g})" for most, mean, request in beyond[:8])
        words = f"{words}; {len(beyond)} beyond {limit:.2g}: {others}"
        if dtype == "float32":
            raise BrokenError(words)
        precision = self._precision(dtype, [request for _, _, request in beyond])
        if all(mean <= own for (_, mean, _), own in zip(beyond, precision, strict=True)):
            return f"{words}; each nearer, in the mean, than it is to single precision ({min(precision):.2g} or more)"
        raise BrokenError(f"{words}; to single precision they are {', '.join(f'{own:.2g}' for own in precision)}")

    def _precision(self, dtype: str, requests: Sequence[GenerationRequest]) -> list[float]:
        """How far, in the mean, each picture alone is from itself alone in single precision."""
        alone = [self._painted_alone(self.store(dtype), dtype, request) for request in requests]
        store = self.store("float32")
        exact = [self._painted_alone(store, "float32", request) for request in requests]
        return [float(np.abs(one - other).mean()) for one, other in zip(alone, exact, strict=True)]


def played(script: dict[int, list[Call | Cancel]], policy: PlainRows | None = None) -> dict[Any, Event]:
    """How every call of a script ended; the numbers are those of the steps before which they come."""
    ends: dict[Any, Event] = {}
    batcher = StepBatcher(policy, row_cap=12)
    number = 0
    while number <= max(script) or not batcher.is_idle:
        for call, event in batcher.step(script.get(number, [])):
            ends[call.id] = event
        number += 1
    return ends


@contextmanager
def _little_memory(device: str, pipeline: Any) -> Iterator[None]:
    """Let the device have little more memory than is in use; elsewhere stands in a denoiser that says so."""
    if device == "cuda":
        release()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 2**29) / total))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            release()
        return

    def refuse(_module: Any, arguments: tuple[Any, ...]) -> None:
        if arguments[0].shape[-1] > 100:
            raise torch.OutOfMemoryError("out of memory")

    hook = pipeline.unet.register_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()


async def _engine_process(book: Book, scene: Scene, data: Path) -> str:
    """Paint in the engine process, look at its previews, kill it in the midst, and watch its memory come back."""
    settings = EngineConfig(device="auto", preview_seconds=0.01, safety="off")
    config = Config(data=data, models=(EMBEDDED_MODEL,), engine=settings)
    timeouts = 120 if scene.toy else 35
    before = _free_bytes(scene.device)
    engine = LocalEngine(config, timeouts=Timeouts(start=60, first_step=60, warm=20, restart=3600))
    running = asyncio.create_task(engine.run())
    previews: list[Preview] = []

    async def paint(number: int, **changes: Any) -> bytes:
        request = GenerationRequest(
            prompt=_PROMPTS[number % len(_PROMPTS)],
            model=PLAIN,
            width=SIDE,
            height=SIDE,
            num_inference_steps=4 if scene.toy else 20,
            guidance_scale=3.0,
            seed=number,
            sampler=("default", "dpm++ 2m", "euler a")[number % 3],
        )
        order = Order(JobId(number + 1), 1, replace(request, **changes), UserId(number % 3))
        async for event in engine.submit(order):
            if isinstance(event, Preview):
                previews.append(event)
            if isinstance(event, Progress) and changes:
                return b""
            if isinstance(event, Finished):
                return event.images[0].png
        raise BrokenError("an order ended without a picture")

    try:
        started = time.monotonic()
        await asyncio.wait_for(engine.ready(), timeouts)
        ready = time.monotonic() - started
        if engine.troubles:
            raise BrokenError(f"the engine has troubles: {dict(engine.troubles)}")
        pictures = await asyncio.wait_for(asyncio.gather(*(paint(n) for n in range(3 if scene.toy else 12))), timeouts)
        took = time.monotonic() - started - ready
        for number, png in enumerate(pictures[:3]):
            (scene.out / f"engine-{number}.png").write_bytes(png)
        sizes = {Image.open(io.BytesIO(png)).size for png in pictures}
        darkest = min(float(np.asarray(Image.open(io.BytesIO(png))).std()) for png in pictures)
        words = (
            f"{len(pictures)} pictures {sizes} in {took:.1f} s after {ready:.1f} s to be ready on "
            f"{engine.timings.device or 'a device that it did not name'}; {len(previews)} previews"
        )
        if darkest < 5 or not previews:
            raise BrokenError(f"{words}; a picture's deviation is {darkest:.1f} of 255")
        held = before - _free_bytes(scene.device)
        victim = engine.pid
        assert victim is not None
        dying = asyncio.gather(*(paint(20 + n, num_inference_steps=150) for n in range(2)), return_exceptions=True)
        await asyncio.wait_for(dying, 20)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        while psutil.pid_exists(victim) and psutil.Process(victim).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)
            if time.monotonic() - killed > 10:
                raise BrokenError(f"{words}; the process outlived its kill")
        await _stopped(running)
        left = before - _free_bytes(scene.device)
        while left > 2**28 and time.monotonic() - killed < 10:
            await asyncio.sleep(0.1)
            left = before - _free_bytes(scene.device)
        memory = (
            f"it held {held / 2**20:.0f} MiB, {left / 2**20:.0f} MiB {time.monotonic() - killed:.1f} s after its kill"
        )
        if scene.device == "cuda" and (left > 2**28 or held < 2**26):
            raise BrokenError(f"{words}; {memory}")
        return f"{words}; {memory}"
    except EngineDied as error:
        raise BrokenError(f"the engine died: {error}; the log says why") from error
    finally:
        await _stopped(running)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _free_bytes(device: str) -> int:
    return int(torch.cuda.mem_get_info()[0]) if device == "cuda" else 0


def _name(request: GenerationRequest) -> str:
    held = " by a ControlNet" if request.controlnet else ""
    return f"{request.operation}{held}, {request.sampler}{' with a LoRA' if request.loras else ''}"


def _source() -> str:
    from bot.engine.catalog import folder_of

    return folder_of(EMBEDDED_MODEL)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for _, leaf in rows._leaves(tree) if isinstance(leaf, torch.Tensor)]


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _make_lora(pipeline: Any, file: Path) -> Path:
    """Write a LoRA with random matrices for a pipeline's U-Net and text encoder."""
    torch.manual_seed(1)
    targets = {"unet": ["to_q", "to_k", "to_out.0", "conv1", "time_emb_proj"], "text_encoder": ["q_proj", "v_proj"]}
    states = {}
    for part, names in targets.items():
        module = copy.deepcopy(getattr(pipeline, part))
        settings = peft.LoraConfig(r=4, lora_alpha=2, target_modules=names, init_lora_weights=False)
        module.add_adapter(settings, adapter_name="made")
        states[f"{part}_lora_layers"] = peft.get_peft_model_state_dict(module, adapter_name="made")
        states[f"{part}_lora_adapter_metadata"] = settings.to_dict()
    type(pipeline).save_lora_weights(file.parent, weight_name=file.name, **states)
    return file


__all__ = ["Again", "correctness", "played"]
