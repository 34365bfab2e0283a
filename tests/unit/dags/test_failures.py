"""What ``magnus execute`` shows of an error."""

from __future__ import annotations

import functools
import traceback

from airflow_magnus.dags.failures import users_frames


def test_frames_of_the_users_code_are_left() -> None:
    def users_code() -> None:
        raise ValueError("wrong")

    try:
        functools.reduce(lambda _, run: run(), [None, users_code])
    except ValueError as error:
        frames = traceback.extract_tb(users_frames(error.__traceback__))
    assert frames[-1].name == "users_code"


def test_nothing_is_left_when_no_code_of_the_user_ran() -> None:
    from airflow_magnus.pipeline.identifiers import dag_id_of

    try:
        dag_id_of("no path")  # type: ignore[arg-type]
    except AttributeError as error:
        assert error.__traceback__ is not None
        own = error.__traceback__.tb_next  # the frame of this test is the user's
        assert own is not None
        assert users_frames(own) is None
