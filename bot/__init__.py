"""Atelier: a workshop where a whole community paints at one easel."""
