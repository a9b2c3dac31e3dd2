"""What a person does on the page, done as that person in the in-process Discord."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import discord
import simcord

from bot.errors import UserError
from bot.try_page import commands
from bot.try_page.commands import File, OptionType
from bot.try_page.place import Place, Seat, settled

MOST_FORMS = 50
"""How many opened forms are remembered until they are sent."""
MOST_TYPED = 2000
"""Characters of a message, as on Discord."""

Asked = Mapping[str, Any]
Files = Mapping[str, Sequence[File]]
Answer = dict[str, Any]

_GONE = "That message is gone."
_GONE_CONTROL = "That button is not there any more."
_UNKNOWN_MESSAGE = 10008
_FIELDS = ("components", "component", "accessory")


class Actions:
    """Does what people do."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._forms: OrderedDict[str, tuple[Seat, Any]] = OrderedDict()
        self._verbs: dict[str, Callable[[_Doing], Awaitable[Any]]] = {
            "command": self._command,
            "complete": self._complete,
            "click": self._click,
            "select": self._select,
            "form": self._form,
            "menu": self._menu,
            "react": self._react,
            "say": self._say,
            "delete": self._delete,
            "dismiss": self._dismiss,
        }

    async def act(self, seat: Seat, channel: Any, asked: Asked, files: Files) -> Answer:
        """Do what is asked, and say what the page should do now; raises UserError with the reason why that fails."""
        verb = self._verbs.get(str(asked.get("kind")))
        if verb is None:
            raise UserError("The page asked for something that this Atelier does not know. Reload it.")
        doing = _Doing(self._place, seat, channel, asked, files)
        try:
            async with self._place.acting():
                result = await verb(doing)
        except simcord.OptionError as error:
            raise UserError(f"`{error.option}` cannot have that value.") from error
        except simcord.BackendError as error:
            is_gone = error.code == _UNKNOWN_MESSAGE
            raise UserError(_GONE if is_gone else "You may not do that here.") from error
        except simcord.SetupError as error:
            raise UserError(_refusal(doing)) from error
        return self._answer(seat, result)

    def _answer(self, seat: Seat, result: Any) -> Answer:
        """What the page is told of what an interaction led to; the messages come by the feed."""
        if isinstance(result, list):
            return {"choices": [[choice["name"], choice["value"]] for choice in result]}
        if not isinstance(result, simcord.InteractionResult):
            return {}
        if (form := result.modal) is not None:
            key = str(result._interaction.id)
            self._forms[key] = (seat, result)
            if len(self._forms) > MOST_FORMS:
                self._forms.popitem(last=False)
            return {"form": {"key": key, "title": form["title"], "components": form["components"]}}
        if not result.acknowledged:
            raise UserError("Atelier did not answer in time. Try again.")
        return {}

    async def _command(self, doing: _Doing) -> Any:
        name, leaf = doing.command()
        given = doing.options(leaf)
        if doing.is_direct:
            return await settled(doing.actor.slash, name, **given)
        return await settled(doing.actor.slash, doing.channel, name, **given)

    async def _complete(self, doing: _Doing) -> Any:
        name, leaf = doing.command()
        given = doing.options(leaf, leave_out=doing.text("option"), strict=False)
        where = () if doing.is_direct else (doing.channel,)
        complete = doing.actor.autocomplete
        return await settled(complete, *where, name, doing.text("option"), doing.text("typed"), **given) or []

    async def _click(self, doing: _Doing) -> Any:
        return await settled(doing.actor.click, doing.message(), custom_id=doing.text("control"))

    async def _select(self, doing: _Doing) -> Any:
        message = doing.message()
        control = doing.text("control")
        menu = next((part for part in _parts(message._message.components) if part.get("custom_id") == control), None)
        if menu is None:
            raise UserError(_GONE_CONTROL)
        values = [str(value) for value in doing.asked.get("values") or ()]
        chosen = [doing.entity(menu["type"], value) for value in values]
        return await settled(doing.actor.select, message, chosen, custom_id=control)

    async def _form(self, doing: _Doing) -> Any:
        owner, shown = self._forms.get(doing.text("form"), (None, None))
        if owner is not doing.seat:
            raise UserError("This form is too old. Open it again.")
        typed = doing.asked.get("values")
        values: dict[str, Any] = dict(typed) if isinstance(typed, Mapping) else {}
        values |= {name: list(files) for name, files in doing.files.items()}
        result = await settled(doing.actor_of(shown).submit_modal, shown, values)
        self._forms.pop(doing.text("form"), None)
        return result

    async def _menu(self, doing: _Doing) -> Any:
        return await settled(doing.actor.context_menu, doing.channel, doing.text("name"), doing.message())

    async def _react(self, doing: _Doing) -> Any:
        reacted = doing.asked.get("on") is True
        await settled(doing.actor.set_reaction, doing.message(), doing.text("emoji"), reacted=reacted)

    async def _say(self, doing: _Doing) -> Any:
        content = doing.text("content")
        if len(content) > MOST_TYPED:
            raise UserError(f"A message has up to {MOST_TYPED:,} characters; this one has {len(content):,}.")
        files = list(doing.files.get("file", ()))
        if not content.strip() and not files:
            raise UserError("Write something first, or add a file.")
        if doing.is_direct:
            stored = self._place.env.backend.store_attachments(doing.channel.id, files)
            await settled(doing.actor.send_dm, content, attachments=stored)
        else:
            await settled(doing.actor.send, doing.channel, content, attachments=files)

    async def _delete(self, doing: _Doing) -> Any:
        await settled(doing.actor.delete, doing.message())

    async def _dismiss(self, doing: _Doing) -> Any:
        message = doing.message()
        if not message.ephemeral:
            raise UserError("Only a message that you alone see can be dismissed.")
        self._place.env.backend.delete_message(doing.channel.id, message.id)


class _Doing:
    """One action: who does it, where, and with what."""

    def __init__(self, place: Place, seat: Seat, channel: Any, asked: Asked, files: Files) -> None:
        self.place = place
        self.seat = seat
        self.channel = channel
        self.asked = asked
        self.files = files
        self.is_direct = channel.id not in place.channels
        self.actor = seat.actor.user if self.is_direct else seat.actor

    def actor_of(self, shown: Any) -> Any:
        """The person where a form was opened."""
        return self.seat.actor if shown._interaction.guild_id is not None else self.seat.actor.user

    def text(self, name: str) -> str:
        """A word of what was asked."""
        value = self.asked.get(name)
        return value if isinstance(value, str) else ""

    def message(self) -> Any:
        """The message that this is about; raises UserError if it is gone."""
        known = self.text("message")
        found = self.place.message(self.seat, self.channel.id, int(known)) if known.isdecimal() else None
        if found is None:
            raise UserError(_GONE)
        return simcord.ResponseMessage(self.place.env, found)

    def command(self) -> tuple[str, dict[str, Any]]:
        """The command that this is about; raises UserError if this person does not have it here."""
        for name, leaf in self.place.commands(self.seat, self.channel.id):
            if name == self.text("name"):
                return name, leaf
        raise UserError("You do not have that command here.")

    def options(self, leaf: Mapping[str, Any], leave_out: str = "", *, strict: bool = True) -> dict[str, Any]:
        """The values of a command's options; unless `strict`, those that cannot be read are left out."""
        typed = self.asked.get("options")
        typed = typed if isinstance(typed, Mapping) else {}
        values = {}
        for option in leaf.get("options") or ():
            name = option["name"]
            if name == leave_out or (name not in typed and name not in self.files):
                continue
            try:
                values[name] = commands.value_of(option, str(typed.get(name, "")), self.files.get(name, ()), self._find)
            except UserError:
                if strict:
                    raise
        return values

    def entity(self, kind: int, value: str) -> Any:
        """What a choice of a menu stands for: the word itself, or whom or what its id names."""
        kinds = {
            discord.ComponentType.user_select.value: OptionType.user,
            discord.ComponentType.role_select.value: OptionType.role,
            discord.ComponentType.mentionable_select.value: OptionType.mentionable,
            discord.ComponentType.channel_select.value: OptionType.channel,
        }
        if kind not in kinds:
            return value
        found = self._find(kinds[kind], int(value)) if value.isascii() and value.isdecimal() else None
        if found is None:
            raise UserError("That choice is not there any more.")
        return found

    def _find(self, kind: OptionType, known: int) -> Any:
        people = {seat.id: seat.actor for seat in self.place.seats.values()}
        match kind:
            case OptionType.user:
                return people.get(known)
            case OptionType.role:
                return self.place.roles.get(known)
            case OptionType.mentionable:
                return people.get(known) or self.place.roles.get(known)
            case _:
                return self.place.channels.get(known)


def _parts(components: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Every part of a message's controls, however deep."""
    found: list[Mapping[str, Any]] = []
    for component in components:
        found.append(component)
        for name in _FIELDS:
            below = component.get(name)
            found += _parts(below if isinstance(below, list) else [below] if below else [])
    return found


def _refusal(doing: _Doing) -> str:
    """Why simcord does not do something, in words for a person: it says it to a programmer."""
    match doing.asked.get("kind"):
        case "click" | "select":
            return _GONE_CONTROL
        case "form":
            return "The form cannot be sent like this. Check what it asks for in each field."
        case "delete":
            return "You can delete only your own messages here."
        case _:
            return "You may not do that here."
