#!/bin/sh
# Installs the libraries that the programs are linked with (not their headers), on Debian 12, 13 and Ubuntu 24.04: each
# soname's package has another name on each release, so the newest that the release offers is taken.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
newest() { apt-cache pkgnames "$1" | grep -E "^$1$2\$" | sort -V | tail -n 1; }
set -- \
    "$(newest libwebsockets '[0-9]+(t64)?')" libwebsockets-evlib-uv \
    "$(newest libuv1 '(t64)?')" \
    "$(newest libsqlite3-0 '(t64)?')" \
    "$(newest libjansson4 '(t64)?')" \
    "$(newest libsodium '[0-9]+(t64)?')" \
    "$(newest liblz4-1 '(t64)?')" \
    "$(newest libxxhash0 '(t64)?')" \
    "$(newest zlib1g '(t64)?')" \
    curl
apt-get install -y -qq --no-install-recommends "$@" >/dev/null
rm -rf /var/lib/apt/lists/*
