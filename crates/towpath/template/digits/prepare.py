"""Puts the weekly batches together: one row per image, 64 intensities and the digit."""

from pathlib import Path

out = Path("build/train.csv")
out.parent.mkdir(exist_ok=True)

weeks = sorted(Path("data/images").glob("week-*.csv"))
rows = 0
with out.open("w") as file:
    for number, week in enumerate(weeks):
        header, *lines = week.read_text().splitlines()
        if number == 0:
            print(header, file=file)
        file.writelines(line + "\n" for line in lines)
        rows += len(lines)

print(f"{rows} images of {len(weeks)} weeks")
