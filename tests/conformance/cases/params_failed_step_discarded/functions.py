import magnus


def f(x):
    magnus.store_parameter(half="done")
    raise RuntimeError("late")
