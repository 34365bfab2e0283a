# Airflow makes one DAG of every pipeline file below pipelines/.
from airflow_magnus import load_pipelines

load_pipelines("pipelines/", globals())
