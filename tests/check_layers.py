#!/usr/bin/python3
"""Holds every #include against the layers: a file includes its own layer and those below, never a sibling or one above.

    tests/check_layers.py      prints each breach; exit status 1 if there is one

cmd/ may include everything: it is where the parts are wired together.
"""
import pathlib
import re
import sys

BELOW = {
    "base": [],
    "proto": ["base"],
    "queue": ["proto", "base"],
    "storage": ["proto", "base"],
    "schema": ["proto", "base"],
    "services": ["queue", "storage", "schema", "proto", "base"],
    "gateway": ["queue", "proto", "base"],
    "cmd": ["gateway", "services", "queue", "storage", "schema", "proto", "base"],
}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    breaches = files = 0
    for layer, below in BELOW.items():
        for path in sorted((root / layer).glob("*.[ch]")):
            files += 1
            for number, line in enumerate(path.read_text().splitlines(), 1):
                found = re.match(r'\s*#\s*include\s+"(\w+)/', line)
                if found and found.group(1) not in [layer, *below]:
                    breaches += 1
                    print(f"{path.relative_to(root)}:{number}: {layer} must not include {found.group(1)}")
    print(f"layers: {files} files, {breaches} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
