# It hides torchvision, where that is installed, from transformers.
import bot.worker  # noqa: F401
