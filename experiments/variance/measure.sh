#!/bin/sh
# The measurements of docs/variance.md, into runs/variance/. Can be stopped and called again: what is measured stays.
set -e
cd "$(dirname "$0")/../.."
minillm() { node --import tsx src/cli/main.ts "$@"; }
out=runs/variance

[ -f $out/wordnet/valid.jsonl ] || minillm data build wordnet --out $out/wordnet --seed 1
[ -d $out/student-200/final ] || minillm train experiments/quickstart/minillm.yaml --set student=experiments/wordnet/student \
  --set eval.every=0 --set eval.prompts=100 --out $out/student-200 --resume

# All returns and baselines without mixing; corrections and sampling schemes around the preset; the presets.
all='*/*/none/independent/0,rao-blackwell/position/*/independent/0.2,rao-blackwell/position/none/*/0,rao-blackwell/position/token/*/0.2,preset/*'
# The same with the baselines that matter.
some='*/none/none/independent/0,*/batch/none/independent/0,*/position/none/independent/0,*/leave-one-out/none/independent/0,*/value/none/independent/0,rao-blackwell/position/*/independent/0.2,rao-blackwell/position/none/*/0,rao-blackwell/position/token/*/0.2,preset/*'

measure() { # name, student, estimators, more flags
  name=$1 student=$2 list=$3
  shift 3
  minillm variance --student $student --teacher experiments/wordnet/teacher --data $out/wordnet/valid.jsonl --template plain \
    --max-new-tokens 40 --estimators "$list" --out $out/$name "$@" > $out/$name.txt
}
measure remaining experiments/wordnet/student "$all"
measure off experiments/wordnet/student "$some" --set length_norm=off
measure remaining-200 $out/student-200/final "$some"
