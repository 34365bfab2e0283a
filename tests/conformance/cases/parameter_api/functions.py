from magnus import store_parameter, get_parameter


def f(x):
    store_parameter(made=[1, 2])
    return {"from_return": 1}


def g():
    allp = get_parameter()
    return {"names": sorted(allp), "one": get_parameter("made")}
