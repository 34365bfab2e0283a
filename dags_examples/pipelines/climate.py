"""What the steps of mount.yaml run: a program of Iris that knows only paths of files. Needs scitools-iris."""

from __future__ import annotations

import sys
from pathlib import Path


def simulate(file: str) -> None:
    """Save a hundred years of yearly temperatures of the globe, made up: warmer every year, most so in the north."""
    import iris
    import numpy as np
    from iris.coords import DimCoord
    from iris.cube import Cube

    years = DimCoord(np.arange(100), standard_name="time", units="years since 2000-01-01")
    latitudes = DimCoord(np.linspace(-87.5, 87.5, 36), standard_name="latitude", units="degrees")
    longitudes = DimCoord(np.linspace(0, 355, 72), standard_name="longitude", units="degrees", circular=True)
    noise = np.random.default_rng(1).normal(0, 1, (100, 36, 72))
    weather = 288 - 45 * np.sin(np.radians(latitudes.points)) ** 2
    warming = 0.02 * years.points[:, None] * (1.5 + np.sin(np.radians(latitudes.points)))
    data = weather[None, :, None] + warming[:, :, None] + noise
    coordinates = [(years, 0), (latitudes, 1), (longitudes, 2)]
    cube = Cube(data, standard_name="air_temperature", units="K", dim_coords_and_dims=coordinates)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    iris.save(cube, file)


def analyse(file: str, folder: str) -> None:
    """Save how much warmer each latitude has become, and a picture of it."""
    import iris
    import iris.analysis
    import iris.quickplot as quickplot
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cube = iris.load_cube(file)  # the numbers are read when they are needed
    first, last = (
        years.collapsed(["time", "longitude"], iris.analysis.MEAN) for years in (cube[:10], cube[-10:])
    )
    warming = last.copy(last.data - first.data)
    warming.rename("warming")
    iris.save(warming, f"{folder}/warming.nc")
    quickplot.plot(warming)
    plt.savefig(f"{folder}/warming.png")


if __name__ == "__main__":
    {"simulate": simulate, "analyse": analyse}[sys.argv[1]](*sys.argv[2:])
