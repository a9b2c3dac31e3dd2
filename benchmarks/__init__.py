"""Figures, not tests: every claim about speed is a ratio measured side by side in one run here."""
