#!/bin/sh
# What the nginx container runs before its image's own entry point: it makes nginx know all umusics
# behind the name REPLICAS (host:port), as they come and go.
#
# Docker's DNS tells their addresses. nginx from 1.27.3 on asks it by itself. An older one reads its
# servers only when it starts or reloads; so a loop asks, and has it reload. That ends no request, but
# closes the connections that clients keep idle.
set -eu

ASKS_ITSELF=1.27.3
LIMITS="max_fails=2 fail_timeout=10s"

version=$(nginx -v 2>&1 | sed 's,.*/,,; s, .*,,')
oldest=$(printf '%s\n' "$ASKS_ITSELF" "$version" | sort -V | head -n 1)

servers() {
    getent ahostsv4 "${REPLICAS%:*}" | sort -u | while read -r address kind _; do
        [ "$kind" != STREAM ] || echo "server $address:${REPLICAS##*:} $LIMITS;"
    done
}

follow() {
    known=$(cat "$1")
    while sleep 1; do
        found=$(servers)
        # None at all is more likely a fault of the DNS than the truth.
        if [ -n "$found" ] && [ "$found" != "$known" ]; then
            echo "$found" > "$1"
            nginx -s reload && known=$found
        fi
    done
}

if [ "$oldest" = "$ASKS_ITSELF" ]; then
    SERVERS="resolver 127.0.0.11 valid=1s ipv6=off; server $REPLICAS resolve $LIMITS;"
else
    file=$STATE_DIR/servers
    servers > "$file"
    [ -s "$file" ] || echo "server 127.0.0.1:1 down;" > "$file"
    follow "$file" &
    SERVERS="include $file;"
fi
export SERVERS
exec /docker-entrypoint.sh "$@"
