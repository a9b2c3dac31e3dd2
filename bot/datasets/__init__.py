"""Data sets of results: versions in a folder, which other tools load. Nothing here runs in the bot."""
