import magnus

put = getattr(magnus, "set_parameter", None) or magnus.store_parameter


def a(x):
    put(y=int(x) + 1)
