import os
from magnus import track_this


def f():
    track_this(Acc=0.5, n=3)
    track_this(nested={"m": [1, 2]})
    os.environ["MAGNUS_TRACK_env"] = "7"
