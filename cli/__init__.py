"""The `drawbreak` command: thin, calls what the others call. Imports neither api, workers nor demo."""
