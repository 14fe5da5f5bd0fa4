"""One module per thing that people do and that changes something. Imports reports, intake, models, rules, runtime."""
