"""Whether a model fits the GPUs and the engine that a recipe names, before anything is fetched."""

from enginebuild.fit.finding import Finding
from enginebuild.fit.preflight import Fit, fit

__all__ = ["Finding", "Fit", "fit"]
