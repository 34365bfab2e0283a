import pathlib


def flaky(**kw):
    p = pathlib.Path("count")
    n = int(p.read_text()) + 1 if p.exists() else 1
    p.write_text(str(n))
    if n < 3:
        raise RuntimeError("try %d" % n)
    return {"took": n}


def flaky_arg(x):
    p = pathlib.Path("count")
    n = int(p.read_text()) + 1 if p.exists() else 1
    p.write_text(str(n))
    if n < 3:
        raise RuntimeError("try %d" % n)
    return {"took": n}
