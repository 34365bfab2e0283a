"""The memory: records of runs, steps and attempts, and the one document they make. Pure: no I/O."""
