"""What every process stands on: settings, clock, logging, process lifetime, embedded servers.

Imports no other room.
"""
