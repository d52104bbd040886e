#!/bin/sh
# What Open MPI calls in place of ssh: agent.sh HOST COMMAND… runs the command on a host of the laboratory, under that host's name.
# LAB_PREFIX comes before the host's name in that of its namespace.
host=$1
shift
exec ip netns exec "$LAB_PREFIX$host" unshare --uts sh -c 'hostname "$0" && exec sh -c "$*"' "$host" "$@"
