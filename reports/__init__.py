"""Documents made from what is settled. Imports intake, models, rules and runtime."""
