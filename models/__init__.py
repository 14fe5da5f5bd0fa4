"""Tables, each with its named queries, and the session factory. Imports rules and runtime only."""
