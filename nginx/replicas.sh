#!/bin/sh
# What the nginx container runs before its image's own entry point: it makes nginx know all umusics
# behind the name REPLICAS (host:port), as they come and go.
#
# Docker's DNS tells their addresses, and nginx reads them when it reloads, which ends no request.
# nginx from 1.27.3 on can ask by itself (`resolve`). But when a new answer comes while a request waits
# for a umusic that has just gone, it does not try the others for that request.
set -eu

# A reload closes connections that clients keep idle, maybe just as one is used again; from this
# version on not those that were used within so many seconds.
KEEPS_IDLE=1.27.4
KEPT_SECONDS=60

file=$STATE_DIR/servers
version=$(nginx -v 2>&1 | sed 's,.*/,,; s, .*,,')

servers() {
    getent ahostsv4 "${REPLICAS%:*}" | sort -u | while read -r address kind _; do
        [ "$kind" != STREAM ] || echo "server $address:${REPLICAS##*:} max_fails=2 fail_timeout=10s;"
    done
}

follow() {
    known=$(cat "$file")
    while sleep 1; do
        found=$(servers)
        # None at all is more likely a fault of the DNS than the truth.
        if [ -n "$found" ] && [ "$found" != "$known" ]; then
            echo "$found" > "$file"
            nginx -s reload && known=$found
        fi
    done
}

if printf '%s\n' "$KEEPS_IDLE" "$version" | sort -C -V; then
    echo "keepalive_min_timeout ${KEPT_SECONDS}s;" > /etc/nginx/conf.d/idle.conf
fi
servers > "$file"
[ -s "$file" ] || echo "server 127.0.0.1:1 down;" > "$file"
follow &
export SERVERS="include $file;"
exec /docker-entrypoint.sh "$@"
