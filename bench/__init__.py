"""Benchmarks: ``make bench``. What they claim are ratios of medians of one run, never seconds."""
