"""What the reactions under a result mean, as they are stored: without skin tone and variation selector."""

from __future__ import annotations

LIKE = "👍"
DISLIKE = "👎"
HEART = "❤"
HEART_BUTTON = "button:❤"
"""Stored for a press of the button ❤️, which stands under no message as a reaction."""
FAVOURITES = (HEART, "⭐", HEART_BUTTON)
"""One of these favourites a result; several by the same person count once."""
SEND = "✉"
"""Asks for the result in a direct message."""
SEND_SETTING = "setting:✉"
"""Stored for a request of a person who wants all their results in direct messages."""
SENDS = (SEND, SEND_SETTING)
DELETE = "❌"
"""By the person who asked for the result: deletes it. By anybody else it means nothing."""
NUMBERS = ("1⃣", "2⃣", "3⃣", "4⃣")
"""Likes one picture of several, by its number from 1."""

NO_REACTIONS = (HEART_BUTTON, SEND_SETTING)
"""What people give by a button or a setting; it stands under no message."""

ASKING = (*FAVOURITES, *SENDS, DELETE)
"""The reactions that ask the bot to do something; the index ratings_that_ask names the same."""


def quoted(emojis: tuple[str, ...]) -> str:
    """Emojis as a list of SQL literals, for constants."""
    return ", ".join(f"'{emoji}'" for emoji in emojis)


LIKES_A_PICTURE = f"""emoji IN ({quoted(NUMBERS)}) AND CAST(substr(emoji, 1, 1) AS INTEGER) <= images
  AND (SELECT count(*) FROM jobs AS beside WHERE beside.post_id = ratings.post_id) = 1"""  # noqa: S608 - constants
"""Whether a row of `ratings` likes one of `images` pictures: a number under a post of several requests names none."""
