"""Airflow connections as stores. No rules of pipelines live here."""
