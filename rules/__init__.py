"""The rules of the game and of the product, without I/O, clock or randomness (see README.md)."""
