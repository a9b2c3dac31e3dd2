"""The engine process, `python -m bot.worker`. torch lives here and nowhere else; nothing else in bot imports this."""
