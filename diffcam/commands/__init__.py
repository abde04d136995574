"""The command lines: parse, call, print. What they call lives below."""

__all__: list[str] = []
