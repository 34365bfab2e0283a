"""Persistence: object stores, databases and secret stores behind small interfaces. Knows nothing of Airflow."""
