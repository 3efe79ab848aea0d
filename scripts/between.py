"""Puts what comes on stdin between the markers NAME:start and NAME:end of a Markdown file.

usage: COMMAND | python3 scripts/between.py FILE NAME
"""
import sys
from pathlib import Path

document, name = Path(sys.argv[1]), sys.argv[2]
text = sys.stdin.read().strip()
if not text:
    sys.exit(f"error: nothing came on stdin: {document} is left as it was")
start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
head, found, rest = document.read_text().partition(start)
tail = rest.partition(end)[2]
if not (found and rest.count(end)):
    sys.exit(f"error: {document} has no lines {start} and {end}")
document.write_text(f"{head}{start}\n{text}\n{end}{tail}")
