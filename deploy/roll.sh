#!/bin/sh
# A rolling restart: as many new umusics beside the old ones as .env has it (APPS), of the image and
# the .env as they are now; then the old ones are told to stop, and end their uploads. Nothing changes
# if the new ones do not become healthy. COMPOSE: how docker compose is called.
set -eu

wait=${ROLL_SECONDS:-120}
old=$($COMPOSE ps -q app)
[ -n "$old" ] || { echo "umusic does not run yet: make up"; exit 1; }
count=$(sed -n "s/^APPS=[\"']*\([0-9]*\).*/\1/p" .env | tail -n 1)
count=${APPS:-${count:-1}}

$COMPOSE run --rm --no-deps migrate
$COMPOSE up -d --no-deps --no-recreate --scale app=$(($(echo "$old" | wc -w) + count)) app
new=$($COMPOSE ps -q app | grep -v -F "$old")

unhealthy() {
    # shellcheck disable=SC2086 # they are many
    docker inspect --format '{{.State.Health.Status}}' $new | grep -v -x healthy
}
while unhealthy > /dev/null; do
    if [ "$wait" -le 0 ]; then
        echo "The new umusics do not become healthy, the old ones stay. The last they said:"
        # shellcheck disable=SC2086
        for container in $new; do docker logs --tail 5 "$container"; done
        # shellcheck disable=SC2086
        docker rm --force $new
        exit 1
    fi
    wait=$((wait - 1))
    sleep 1
done

# nginx has to know them, and to have forgotten that they did not answer while they started.
sleep 12
# shellcheck disable=SC2086
docker stop $old
# shellcheck disable=SC2086
docker rm $old
$COMPOSE up -d --no-deps --no-recreate --scale app="$count" app
