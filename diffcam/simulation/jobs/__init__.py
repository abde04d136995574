"""Running a simulation: what is written, by which processes, and what is done already."""
