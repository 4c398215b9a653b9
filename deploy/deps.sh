#!/bin/sh
# Installs what Parley needs to build, run and test on Debian 12, Debian 13 and Ubuntu 24.04.
#
#   deploy/deps.sh build    compiler, libraries (what `make run` needs)
#   deploy/deps.sh test     the same, cmocka, Python's WebSocket client, and RocksDB and LevelDB to compare with (`make test`)
#   deploy/deps.sh check    the same, and the slower checks' tools (clang-format, clang's fuzzer, callgrind)
#
# Says what it is about to install before it does, asks for root by sudo only then, and does nothing when all is there.
set -eu

build="gcc make libc6-dev libwebsockets-dev libwebsockets-evlib-uv libssl-dev libuv1-dev libsqlite3-dev libjansson-dev
       libsodium-dev liblz4-dev libxxhash-dev zlib1g-dev curl"
test="libcmocka-dev openssl python3 python3-websockets librocksdb-dev libleveldb-dev"
check="clang libclang-rt-dev clang-format valgrind"

case "${1:-build}" in
build) wanted="$build" ;;
test) wanted="$build $test" ;;
check) wanted="$build $test $check" ;;
*) echo "usage: deploy/deps.sh build|test|check" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps: this is not a Debian or Ubuntu system; please install the counterparts of: $wanted" >&2
    exit 0
fi

missing=""
for p in $wanted; do
    dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "deps: missing:$missing (install them as root)" >&2; exit 1; }
    as_root="sudo"
fi
echo "deps: installing with apt-get${as_root:+ (through sudo)}:$missing"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
