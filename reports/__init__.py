"""Documents made from what is settled, and tickets as they are printed. Imports intake, models, rules and runtime."""
