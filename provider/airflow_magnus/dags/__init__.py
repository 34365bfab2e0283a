"""The factory: folders of pipeline files → pipelines → Airflow DAGs."""
