def f(n, l, d):
    return {"sum": n + len(l) + d["k"]}
