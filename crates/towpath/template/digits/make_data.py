"""Makes the data of this example from the handwritten digits that come with scikit-learn
(1,797 images, in file order): weekly batches to train on, a fixed evaluation set, the images of the
weeks to come, and images held back to play live traffic.

    data/images/week-01.csv ... week-08.csv   tracked by data/images.dvc
    data/evaluation.csv                       tracked by data/evaluation.csv.dvc
    incoming/week-09.csv                      the next week
    incoming/week-10-faulty.csv               a week from a scanner that inverts its intensities
    incoming/live.csv                         live traffic: images and, for later, their digits
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

WEEK = 100
HEADER = ",".join([f"pixel_{i:02d}" for i in range(64)] + ["digit"])

digits = load_digits()
table = np.column_stack([digits.data, digits.target]).astype(int)


def write(path, rows):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=HEADER, comments="")


weeks = [table[start : start + WEEK] for start in range(0, 10 * WEEK, WEEK)]
for number, rows in enumerate(weeks[:8], start=1):
    write(f"data/images/week-{number:02d}.csv", rows)
write("data/evaluation.csv", table[1000:1360])

write("incoming/week-09.csv", weeks[8])
faulty = weeks[9].copy()
faulty[:, :64] = 16 - faulty[:, :64]
write("incoming/week-10-faulty.csv", faulty)
write("incoming/live.csv", table[1360:])
