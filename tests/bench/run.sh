#!/bin/sh
# make bench: measures the built server against its targets. See bench.py for what is run and what can be set.
set -eu
cd "$(dirname "$0")/../.."
exec /usr/bin/python3 tests/bench/bench.py "${1:-build}"
