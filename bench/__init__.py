"""What `make bench` measures: everything in one run, on one machine, with one load generator."""
