#!/bin/sh
# What the nginx container runs before its image's own entry point: it makes nginx know all umusics
# behind the name REPLICAS (host:port), as they come and go, and with S3 all gateways behind STORE.
#
# Docker's DNS tells their addresses, and nginx reads them when it reloads, which ends no request.
# nginx from 1.27.3 on can ask by itself (`resolve`). But when a new answer comes while a request waits
# for a umusic that has just gone, it does not try the others for that request. For S3 it does ask: AWS's has
# other addresses every few seconds.
set -eu

# A reload closes connections that clients keep idle, maybe just as one is used again; from this
# version on not those that were used within so many seconds.
KEEPS_IDLE=1.27.4
KEPT_SECONDS=60

# The first that can ask by itself.
ASKS_ITSELF=1.27.3

umusics=$STATE_DIR/servers
gateways=/etc/nginx/conf.d/store.servers
version=$(nginx -v 2>&1 | sed 's,.*/,,; s, .*,,')

is_from() {
    printf '%s\n' "$1" "$version" | sort -C -V
}

# write NAME:PORT FILE
write() {
    found=$(getent ahostsv4 "${1%:*}" | sort -u | while read -r address kind _; do
        [ "$kind" != STREAM ] || echo "server $address:${1##*:} max_fails=2 fail_timeout=10s;"
    done)
    # None at all is more likely a fault of the DNS than the truth.
    if [ -z "$found" ]; then
        found=$(cat "$2" 2> /dev/null || echo "server 127.0.0.1:1 down;")
    fi
    put "$found" "$2"
}

# put TEXT FILE: not while nginx may be reading the same.
put() {
    [ "$1" = "$(cat "$2" 2> /dev/null)" ] || echo "$1" > "$2"
}

look() {
    write "$REPLICAS" "$umusics"
    if [ -n "${STORE:-}" ]; then
        if is_from "$ASKS_ITSELF"; then
            dns=$(sed -n 's/^nameserver  *//p' /etc/resolv.conf | head -n 1)
            put "resolver $dns valid=5s ipv6=off; server $STORE resolve;" "$gateways"
        else
            write "$STORE" "$gateways"
        fi
        cat "$gateways"
    fi
    cat "$umusics"
}

follow() {
    known=$1
    while sleep 1; do
        found=$(look)
        if [ "$found" != "$known" ]; then
            nginx -s reload && known=$found
        fi
    done
}

if is_from "$KEEPS_IDLE"; then
    echo "keepalive_min_timeout ${KEPT_SECONDS}s;" > /etc/nginx/conf.d/idle.conf
fi
known=$(look)
follow "$known" &
export SERVERS="include $umusics;"
exec /docker-entrypoint.sh "$@"
