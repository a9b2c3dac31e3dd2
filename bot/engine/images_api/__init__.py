"""Models that other servers paint, through the OpenAI Images API: OpenAI itself, LocalAI, vLLM-Omni, SGLang and more.

`capabilities.py` says what each model can do and `prices.py` what it costs; `client.py` asks; `answers.py` and
`failures.py` read what came back; `darkroom.py` has another process decode, check and mark the pictures; `engine.py` is
the engine, with a lane for each provider.
"""
