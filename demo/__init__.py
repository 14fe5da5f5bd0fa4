"""A day played through on one machine. Imports whatever is below; neither api, workers nor cli."""
