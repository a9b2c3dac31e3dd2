"""Benchmarks print figures and assert nothing. Every claim about speed is a ratio of two measurements of one run."""

# It hides torchvision, where that is installed, from transformers.
import bot.worker  # noqa: F401
