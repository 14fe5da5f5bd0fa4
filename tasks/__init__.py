"""One module per step that runs by itself. Imports actions, reports, intake, models, rules, runtime.

A task is asked with names and numbers only: its arguments are shown in Flower, in logs and in dead letters.
"""
