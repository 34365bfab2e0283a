V = {
    "i": 1,
    "f": 1.5,
    "t": True,
    "fl": False,
    "n": None,
    "l": [1, [2, None]],
    "d": {"k": {"m": []}},
    "s": "text",
    "e": "",
    "u": "h\u00e9llo \u4e16\u754c",
    "q": 'quote " and \\ and $x',
    "nl": "a\nb",
}


def out():
    return V


def back(i, f, t, fl, n, l, d, s, e, u, q, nl):
    same = dict(i=i, f=f, t=t, fl=fl, n=n, l=l, d=d, s=s, e=e, u=u, q=q, nl=nl) == V
    return {"same": same}
