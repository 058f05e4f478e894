"""Prepares the fixed evaluation set, the same for every model."""

from pathlib import Path

import numpy as np

import images

pixels, digits = images.read("data/evaluation.csv")
Path("build").mkdir(exist_ok=True)
np.savez("build/evaluation.npz", pixels=pixels, digits=digits)
print(f"{len(digits)} images to evaluate on")
