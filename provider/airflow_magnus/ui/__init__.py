"""Our pages in Airflow's UI. They show and decide nothing of their own: what they know comes from the layers below."""
