import os


def make(x):
    return {"y": int(x) + 1, "label": "n" + str(x)}


def use(y, label, unset="dflt"):
    return {"z": [y, label, unset]}


def boom(x=None):
    raise ValueError("boom " + str(x))


def non_dict():
    return 5


def nothing():
    return None


def empty():
    return {}


def star(**kwargs):
    return {"got": sorted(kwargs)}


def see(**kwargs):
    pass
