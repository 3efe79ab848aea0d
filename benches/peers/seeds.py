"""The runs of several seeds as a table in docs/training.md: mean and spread at the last epoch.

usage: python benches/peers/seeds.py RUN_FOLDER...
"""
import csv
import json
import statistics
import sys
from pathlib import Path

DIGITS = range(10)


def main(folders):
    rows = ["| seed | epochs | test loss | test accuracy | " + " | ".join(map(str, DIGITS)) + " |", "|---|" + "---:|" * 13]
    columns = []
    for folder in folders:
        settings = json.loads(Path(folder, "settings.json").read_text())
        with open(Path(folder, "metrics.csv")) as metrics:
            last = list(csv.DictReader(metrics))[-1]
        names = ["test_loss", "test_accuracy"] + [f"test_accuracy_{digit}" for digit in DIGITS]
        numbers = [float(last[name]) for name in names]
        columns.append(numbers)
        rows.append(line(settings["settings"]["seed"], last["epoch"], numbers))
    rows.append(line("mean", "", [statistics.mean(column) for column in zip(*columns)]))
    rows.append(line("deviation", "", [statistics.stdev(column) for column in zip(*columns)]))
    document = Path(__file__).resolve().parents[2] / "docs" / "training.md"
    head, rest = document.read_text().split("<!-- seeds:start -->")
    tail = rest.split("<!-- seeds:end -->")[1]
    document.write_text(head + "<!-- seeds:start -->\n" + "\n".join(rows) + "\n<!-- seeds:end -->" + tail)


def line(name, epochs, numbers):
    return f"| {name} | {epochs} | " + " | ".join(f"{number:.4f}" for number in numbers) + " |"


main(sys.argv[1:])
