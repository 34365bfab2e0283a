"""The contract: a pipeline file as a checked model. Pure: no Airflow, no network."""
