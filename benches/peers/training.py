"""Time of a training epoch: `trainer` against the usual PyTorch script, in turns, on all cores.

usage: python benches/peers/training.py [ROUNDS]
Needs `pip install torch==2.13.0 torchvision`, and `make setup`. Writes the table of docs/training.md.
"""
import csv
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


def main(rounds):
    subprocess.run(["cargo", "build", "-q", "-p", "trainer"], cwd=ROOT, check=True)
    seconds = {"PyTorch": [], "trainer": []}
    for _ in range(rounds):
        seconds["PyTorch"].append(pytorch_in_a_process_of_its_own())
        seconds["trainer"].append(trainer())
        print({name: [round(s, 1) for s in times] for name, times in seconds.items()}, flush=True)
    write_table(seconds)


def pytorch_in_a_process_of_its_own():
    output = subprocess.run([sys.executable, __file__, "--pytorch"], check=True, capture_output=True, text=True).stdout
    return float(output)


def trainer():
    with tempfile.TemporaryDirectory() as runs:
        command = ["cargo", "run", "-q", "-p", "trainer", "--", "--epochs", "1", "--runs", runs]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        with open(Path(runs, "1", "metrics.csv")) as metrics:
            return float(next(csv.DictReader(metrics))["train_seconds"])


def pytorch():
    """The seconds of one epoch with torchvision, DataLoader and Adam, as tutorials write it."""
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

    torch.manual_seed(0)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "MNIST").mkdir()
        os.symlink(ROOT / "data", Path(folder, "MNIST", "raw"))
        digits = datasets.MNIST(folder, train=True, transform=transform)
    loader = DataLoader(digits, BATCH_SIZE, shuffle=True)
    blocks = [Block(1, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    net = torch.nn.Sequential(*blocks, torch.nn.Flatten(), torch.nn.Linear(64 * 7 * 7, 10))
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    start = time.perf_counter()
    for pixels, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(pixels), labels).backward()
        optimizer.step()
    return time.perf_counter() - start


def write_table(seconds):
    rows = ["| | n | median s | fastest s | slowest s |", "|---|---:|---:|---:|---:|"]
    for name, times in seconds.items():
        rows.append(f"| {name} | {len(times)} | {statistics.median(times):.1f} | {min(times):.1f} | {max(times):.1f} |")
    ratios = [ours / theirs for theirs, ours in zip(seconds["PyTorch"], seconds["trainer"])]
    rows.append(f"\n`trainer` takes {statistics.median(ratios):.2f} of the PyTorch script's time (median of the rounds' ratios, "
                f"{min(ratios):.2f} to {max(ratios):.2f}), on {os.cpu_count()} cores, {cpu()}.")
    document = ROOT / "docs" / "training.md"
    head, rest = document.read_text().split("<!-- epoch:start -->")
    tail = rest.split("<!-- epoch:end -->")[1]
    document.write_text(head + "<!-- epoch:start -->\n" + "\n".join(rows) + "\n<!-- epoch:end -->" + tail)


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "CPU unknown"


if sys.argv[1:] == ["--pytorch"]:
    print(pytorch())
else:
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
