#!/bin/bash
# Tries deploy/compose.yaml for real: builds the image, starts it, signs up, sends, kills, restarts, reads, takes it down.
# Run as root on a Debian machine (`make try-compose`). What is missing is installed (docker.io, docker-compose); without
# a Docker engine running one is started here and stopped at the end; without a registry in reach the base image is made
# by debootstrap from the machine's own package mirror, and kept as parley-base:trixie for the next try. The image that
# is tried goes when it was.
set -euo pipefail
cd "$(dirname "$0")/.."

BASE=debian:trixie-slim
PROJECT=parley-try-$$
WORK=$(mktemp -d /tmp/parley-compose.XXXXXX)
dockerd_pid=""

say() { echo "try-compose: $*"; }
compose() { docker-compose -p "$PROJECT" -f deploy/compose.yaml -f "$WORK/override.yaml" "$@"; }
finish() {
    status=$?
    [ $status = 0 ] || compose logs --tail 50 2>/dev/null || true
    compose down -v --remove-orphans >/dev/null 2>&1 || true
    docker image rm "parley:$PROJECT" >/dev/null 2>&1 || true
    if [ -n "$dockerd_pid" ]; then
        kill "$dockerd_pid" 2>/dev/null || true
        wait "$dockerd_pid" 2>/dev/null || true
    fi
    rm -rf "$WORK"
    exit $status
}
trap finish EXIT

need=""
for p in docker.io docker-compose curl; do dpkg -s "$p" >/dev/null 2>&1 || need="$need $p"; done
# shellcheck disable=SC2086
[ -z "$need" ] || { say "installing$need"; apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $need >/dev/null; }

if ! docker info >/dev/null 2>&1; then
    say "starting a Docker engine"
    dockerd >"$WORK/dockerd.log" 2>&1 &
    dockerd_pid=$!
    for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
    docker info >/dev/null 2>&1 || { tail "$WORK/dockerd.log"; exit 1; }
fi

if ! docker image inspect $BASE >/dev/null 2>&1 && ! docker pull -q $BASE >/dev/null 2>&1; then
    BASE=parley-base:trixie
fi
if ! docker image inspect $BASE >/dev/null 2>&1; then
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
    say "making $BASE by debootstrap"
    command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap >/dev/null
    debootstrap --variant=minbase trixie "$WORK/root" "$mirror" >"$WORK/debootstrap.log" || { tail "$WORK/debootstrap.log"; exit 1; }
    # The builder reaches packages the way this machine does.
    cp /etc/apt/apt.conf.d/*proxy* "$WORK/root/etc/apt/apt.conf.d/" 2>/dev/null || true
    rm -rf "$WORK"/root/var/cache/apt/archives/*.deb "$WORK"/root/var/lib/apt/lists/*
    tar -C "$WORK/root" -c . | docker import - $BASE >/dev/null
    rm -rf "$WORK/root"
fi

# Its own port and volume, so that it disturbs nobody.
PARLEY_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PARLEY_PORT
cat >"$WORK/override.yaml" <<Y
services:
  parley:
    image: parley:$PROJECT
    build:
      network: host
      args:
        BASE: $BASE
Y

say "building and starting"
compose up --build -d >"$WORK/up.log" 2>&1 || { tail -n 40 "$WORK/up.log"; exit 1; }
id=$(compose ps -q parley)
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$id")" = healthy ]; }
for _ in $(seq 60); do healthy && break; sleep 0.5; done
healthy || { say "not healthy"; exit 1; }
[ "$(docker exec "$id" id -u)" = 10001 ] || { say "runs as root"; exit 1; }

url=http://127.0.0.1:$PARLEY_PORT/v1
field() { python3 -c 'import json, sys; v = json.load(sys.stdin)
for k in sys.argv[1].split("."): v = v[k]
print(v)' "$1"; }
post() { curl -fsS -X POST "$url/$1" -H "Authorization: Bearer ${3:-}" -d "$2"; }
ana=$(post accounts '{"username":"ana","password":"correct horse"}' | field token)
ben=$(post accounts '{"username":"ben","password":"battery staple"}' | field user.id)
conv=$(post "users/$ben/messages" '{"cid":"first","content":{"type":"text","text":"hello from a container"}}' "$ana" | field conv)
say "killing the server and starting it again"
docker kill -s KILL "$id" >/dev/null
docker start "$id" >/dev/null
for _ in $(seq 60); do curl -fsS "http://127.0.0.1:$PARLEY_PORT/readyz" >/dev/null 2>&1 && break; sleep 0.5; done
curl -fsS "$url/conversations/$conv/messages" -H "Authorization: Bearer $ana" | grep -q "hello from a container"
say "image: $(docker image inspect -f '{{.Size}}' "parley:$PROJECT" | awk '{printf "%.0f MB", $1/1e6}') (base: $(docker image inspect -f '{{.Size}}' $BASE | awk '{printf "%.0f MB", $1/1e6}'))"
say "works: built, healthy, not root, and the message survived a kill -9"
