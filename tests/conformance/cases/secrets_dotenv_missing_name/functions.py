from magnus import get_secret


def one():
    return {"s": get_secret("token")}


def every():
    return {"s": get_secret()}


def none():
    return {"s": get_secret("absent")}
