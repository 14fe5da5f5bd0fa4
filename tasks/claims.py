"""Filled in soon."""
