"""Training beside the usual PyTorch script, in turns, each in a process of its own on all cores; writes docs/training.md.

usage: python benches/peers/training.py epoch [--rounds N]            the time of an epoch of the published setting
       python benches/peers/training.py fast [--rounds N] [--seeds N] the time to a test accuracy of 0.990: `trainer
                                                                      --recipe fast`, each round with new seeds
Needs `pip install torch==2.13.0 torchvision`, and `make setup`.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BATCH_SIZE = 64
LEARNING_RATE = 0.001
GOAL = 0.990
PRECISIONS = ("f32", "bf16")
MOST_EPOCHS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("epoch")
    command.add_argument("--rounds", type=int, default=3)
    command.set_defaults(run=lambda arguments: epoch(arguments.rounds))
    command = commands.add_parser("fast")
    command.add_argument("--rounds", type=int, default=4)
    command.add_argument("--seeds", type=int, default=5, help="seeds of `trainer` a round")
    command.set_defaults(run=lambda arguments: fast(arguments.rounds, arguments.seeds))
    command = commands.add_parser("pytorch")
    command.add_argument("seed", type=int)
    command.add_argument("epochs", type=int)
    command.set_defaults(run=lambda arguments: pytorch(arguments.seed, arguments.epochs))
    arguments = parser.parse_args()
    arguments.run(arguments)


def epoch(rounds):
    build()
    theirs = []
    ours = {f"`trainer --precision {precision}`": [] for precision in PRECISIONS}
    for _ in range(rounds):
        theirs.append(pytorch_in_a_process_of_its_own(0, 1)[0]["seconds"])
        for precision, seconds in zip(PRECISIONS, ours.values()):
            seconds.append(trainer("--epochs", "1", "--precision", precision)["seconds"])
        print(theirs, ours, flush=True)
    rows = ["| | n | median s | fastest s | slowest s | of PyTorch's time | lowest | highest |", "|---|" + "---:|" * 7]
    for name, times in {"PyTorch": theirs, **ours}.items():
        ratios = [seconds / other for other, seconds in zip(theirs, times)]
        of_theirs = f"{statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f}"
        rows.append(f"| {name} | {len(times)} | {spread(times)} | {of_theirs} |")
    write("epoch", rows, "Ratios are those of one round, and their median")


def fast(rounds, seeds):
    """A run of PyTorch until it has the accuracy, then as many of ours as there are seeds; and again."""
    build()
    theirs, ours, ratios = [], [], []
    for number in range(rounds):
        epochs = pytorch_in_a_process_of_its_own(number, MOST_EPOCHS)
        seconds = sum(epoch["seconds"] for epoch in epochs)
        theirs.append({"epochs": len(epochs), "seconds": seconds, "accuracy": epochs[-1]["accuracy"]})
        runs = [trainer("--recipe", "fast", "--seed", str(number * seeds + seed)) for seed in range(seeds)]
        ratios.append(statistics.mean(run["seconds"] for run in runs) / seconds)
        ours += runs
        print(theirs[-1], runs, flush=True)
    rows = [
        "| | n | epochs | mean accuracy | deviation | lowest | median s | fastest s | slowest s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, runs in {f"PyTorch, until {GOAL}": theirs, "`trainer --recipe fast`": ours}.items():
        epochs, accuracies, times = ([run[key] for run in runs] for key in ("epochs", "accuracy", "seconds"))
        deviation = f"{statistics.stdev(accuracies):.5f}" if len(runs) > 1 else ""
        rows.append(f"| {name} | {len(runs)} | {statistics.mean(epochs):g} | {statistics.mean(accuracies):.5f} | {deviation} | "
                    f"{min(accuracies):.4f} | {spread(times)} |")
    write("fast", rows, f"`trainer --recipe fast` takes {ratio(ratios)} of the time until the PyTorch script first reads {GOAL} of "
                        "the test digits after an epoch")


def build():
    subprocess.run(["cargo", "build", "-q", "-p", "trainer"], cwd=ROOT, check=True)


def trainer(*flags):
    """What a run's last epoch came to, and the seconds of all its steps."""
    with tempfile.TemporaryDirectory() as runs:
        command = ["cargo", "run", "-q", "-p", "trainer", "--", *flags, "--runs", runs]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        with open(Path(runs, "1", "metrics.csv")) as metrics:
            epochs = list(csv.DictReader(metrics))
    seconds = sum(float(epoch["train_seconds"]) for epoch in epochs)
    return {"epochs": len(epochs), "seconds": seconds, "accuracy": float(epochs[-1]["test_accuracy"])}


def pytorch_in_a_process_of_its_own(seed, epochs):
    command = [sys.executable, __file__, "pytorch", str(seed), str(epochs)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def pytorch(seed, epochs):
    """Trains with torchvision, DataLoader and Adam, as tutorials write it, until the accuracy is reached. Prints the seconds of
    each epoch's steps, and the test accuracy after it."""
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    class Block(torch.nn.Module):
        def __init__(self, in_channels, out_channels, stride):
            super().__init__()
            conv = lambda channels, kernel, stride: torch.nn.Sequential(
                torch.nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, bias=False),
                torch.nn.BatchNorm2d(out_channels),
            )
            self.conv1, self.conv2 = conv(in_channels, 3, stride), conv(out_channels, 3, 1)
            self.shortcut = conv(in_channels, 1, stride)

        def forward(self, x):
            return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))

    torch.manual_seed(seed)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "MNIST").mkdir()
        os.symlink(ROOT / "data", Path(folder, "MNIST", "raw"))
        train, test = (datasets.MNIST(folder, train=part, transform=transform) for part in (True, False))
    loader, test_loader = DataLoader(train, BATCH_SIZE, shuffle=True), DataLoader(test, BATCH_SIZE)
    blocks = [Block(1, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    net = torch.nn.Sequential(*blocks, torch.nn.Flatten(), torch.nn.Linear(64 * 7 * 7, 10))
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    for _ in range(epochs):
        start = time.perf_counter()
        net.train()
        for pixels, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(pixels), labels).backward()
            optimizer.step()
        seconds = time.perf_counter() - start
        net.eval()
        with torch.no_grad():
            hits = sum((net(pixels).argmax(1) == labels).sum().item() for pixels, labels in test_loader)
        accuracy = hits / len(test)
        print(json.dumps({"seconds": seconds, "accuracy": accuracy}))
        if accuracy >= GOAL:
            break


def spread(times):
    return f"{statistics.median(times):.1f} | {min(times):.1f} | {max(times):.1f}"


def ratio(ratios):
    return f"{statistics.median(ratios):.2f} (median of the rounds' ratios, {min(ratios):.2f} to {max(ratios):.2f})"


def write(name, rows, sentence):
    """Puts the table and the sentence between the markers `name` of the document."""
    text = "\n".join(rows) + f"\n\n{sentence}, on {os.cpu_count()} cores, {cpu()}."
    document = ROOT / "docs" / "training.md"
    head, rest = document.read_text().split(f"<!-- {name}:start -->")
    tail = rest.split(f"<!-- {name}:end -->")[1]
    document.write_text(f"{head}<!-- {name}:start -->\n{text}\n<!-- {name}:end -->{tail}")


def cpu():
    """Its name, and which of the instructions it has that a training may use."""
    try:
        facts = dict(map(str.strip, line.split(":", 1)) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    except OSError:
        return "CPU unknown"
    flags = facts.get("flags", "").split()
    features = [feature for feature in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if feature in flags]
    return f"{facts.get('model name', 'CPU unknown')} ({', '.join(features)})"


if __name__ == "__main__":
    main()
