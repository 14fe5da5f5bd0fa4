"""The HTTP process: parse, check rights, call one thing, answer."""
