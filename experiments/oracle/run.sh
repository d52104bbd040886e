#!/usr/bin/env bash
# The tables, numbers and figures of docs/oracle.md, into runs/oracle/.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p runs/oracle
for problem in far.json close.json pair.yaml; do
  name="${problem%.*}"
  echo "== $problem"
  npm run -s minillm -- oracle "experiments/oracle/$problem" --figure "runs/oracle/$name.svg" --json > "runs/oracle/$name.json"
  npm run -s minillm -- oracle "experiments/oracle/$problem" --quiet | tee "runs/oracle/$name.txt"
done
