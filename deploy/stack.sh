#!/bin/sh
# Starts the stack on Docker Swarm, or brings it to what .env and the files say now: replicas one
# after the other, and back again by itself if the new ones do not become ready.
#
# `docker stack deploy` reads files of an older format, and no .env. So docker compose reads
# docker-compose.yml with .env, what Swarm refuses or does in another way is left out, and
# deploy/swarm.yml comes on top. COMPOSE: how docker compose is called.
set -eu
cd "$(dirname "$0")/.."

# of_env NAME: as docker compose reads it, for which a comment begins with a space and #.
of_env() {
    sed -n "s/^$1=//p" .env | tail -n 1 |
        sed -e 's/^"\([^"]*\)".*/\1/; t' -e "s/^'\([^']*\)'.*/\1/; t" \
            -e 's/[[:space:]]#.*//; s/[[:space:]]*$//'
}

# What these files ask for, of .env; the environment wins.
for name in $(grep -ohE '\$\{[A-Z0-9_]+' deploy/swarm*.yml | tr -d '${' | sort -u); do
    printenv "$name" > /dev/null ||
        export "$name=$(of_env "$name")"
done
export PWD NGINX_FILES
NGINX_FILES=$(cat nginx/*.sh nginx/*.template nginx/*/* | sha256sum | cut -c 1-12)
stack=${COMPOSE_PROJECT_NAME:-umusic}
: "${IMAGE_TAG:?set it to a tag that no version before has had, as Swarm goes back by it}"

# docker-compose.yml wants one; here it is a secret of the Swarm.
export POSTGRES_PASSWORD=secret

$COMPOSE -f docker-compose.yml build app
# The nodes take the image from its registry, if it has one.
case ${IMAGE:-} in */*) docker push "$IMAGE:$IMAGE_TAG" ;; esac

# A database elsewhere, unless .env has a node for it.
without="media|migrate"
[ -n "${DB_NODE:-}" ] || without="$without|db"

# What is secret is not in the environment of a service, which `docker inspect` tells.
secret="[A-Z_]*PASSWORD|UMUSIC_DATABASE_URL|UMUSIC_S3_(ACCESS|SECRET)_KEY"

config=$($COMPOSE -f docker-compose.yml config)
printf '%s\n' "$config" |
    awk -v without="^($without):" -v secret="^ +($secret):" '
        BEGIN { print "version: \"3.9\""; print "services:" }
        /^[^ ]/ { top = $1; next }
        /^  [^ ]/ { service = $1; key = "" }
        /^    [^ -]/ { key = $1 }
        top != "services:" || service ~ without || $0 ~ secret { next }
        key ~ /^(build|cpus|depends_on|healthcheck|mem_limit|pids_limit|ports):$/ { next }
        key ~ /^(restart|scale|security_opt|shm_size|tmpfs|volumes):$/ { next }
        { print }' |
    docker stack deploy --prune --resolve-image changed --with-registry-auth \
        -c /dev/stdin -c deploy/swarm.yml ${DB_NODE:+-c deploy/swarm.db.yml} \
        ${HTTPS_PORT:+-c deploy/swarm.tls.yml} "$stack"

# So far Swarm has only taken note of it.
echo "Waiting for all to run…"
wait=${STACK_SECONDS:-120}
failed() {
    echo "$1 What it says:"
    docker stack ps --no-trunc --filter desired-state=shutdown "$stack" | head -n 4
    docker service logs --tail 5 "${stack}_app"
    exit 1
}
sleep 2
until
    update=$(docker service inspect "${stack}_app" \
        --format '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}')
    case $update in
        rollback_* | paused)
            failed "The new umusics do not become ready; Swarm goes back to the old ones." ;;
    esac
    [ "$update" != updating ] &&
        ! docker stack services --format '{{.Replicas}}' "$stack" | grep -q -v -E '^([0-9]+)/\1( |$)'
do
    sleep 1
    [ "$update" = updating ] || wait=$((wait - 1))
    [ "$wait" -gt 0 ] || failed "Not all of the stack runs."
done
sleep 2  # nginx learns of them
docker stack services "$stack"
