"""One module per step that runs by itself. Imports actions, reports, intake, models, rules, runtime."""
