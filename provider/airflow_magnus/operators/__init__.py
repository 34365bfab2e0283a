"""Airflow operators as steps: catalog get before, catalog put after, every attempt in the run log."""
