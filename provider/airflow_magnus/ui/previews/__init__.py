"""Looks into files: one small class for each kind. What a file holds is shown as text, or by what cannot run."""
