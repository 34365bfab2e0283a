"""What ``magnus execute`` shows of an error."""

from __future__ import annotations

import functools
import traceback

import pytest

from airflow_magnus.dags.failures import users_frames


def test_frames_of_the_users_code_are_left() -> None:
    def users_code() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError) as caught:
        functools.reduce(lambda _, run: run(), [None, users_code])
    frames = traceback.extract_tb(users_frames(caught.tb))
    assert frames[-1].name == "users_code"


def test_nothing_is_left_when_no_code_of_the_user_ran() -> None:
    from airflow_magnus.pipeline.identifiers import dag_id_of

    with pytest.raises(AttributeError) as caught:
        dag_id_of("no path")  # type: ignore[arg-type]
    assert caught.tb.tb_next is not None  # the frame of this test is the user's
    assert users_frames(caught.tb.tb_next) is None
