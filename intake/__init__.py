"""The only room that talks to Redis: key catalogue, gate and journal, their scripts, the doorbell."""
