"""Benchmarks print figures and assert nothing. Every claim about speed is a ratio of two measurements of one run."""
