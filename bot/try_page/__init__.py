"""The page of `atelier try`: what people see of the in-process Discord, and what they can do there.

`place.py` is the server with its people, `showing.py` turns messages into what the page draws, `feed.py` tells the page
what changed, `actions.py` does what a person does, and `web.py` serves it all; `page/` holds the files of the browser.
"""
