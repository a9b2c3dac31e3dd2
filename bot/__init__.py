"""Atelier: a Discord bot with which a whole community paints on one GPU."""
