#!/bin/sh
# The measurements of docs/variance.md, into runs/variance/. Can be stopped and called again: what is measured stays.
set -e
cd "$(dirname "$0")/../.."
minillm() { node --import tsx src/cli/main.ts "$@"; }
out=runs/variance
student=experiments/wordnet/student

[ -f $out/wordnet/valid.jsonl ] || minillm data build wordnet --out $out/wordnet --seed 1
[ -d $out/student-200/final ] || minillm train experiments/quickstart/minillm.yaml --set student=$student \
  --set objective.alpha=0.2 --set eval.every=0 --set eval.prompts=100 --out $out/student-200 --resume

measure() { # name, student, estimators, more flags
  name=$1 of=$2 list=$3
  shift 3
  minillm variance --student $of --teacher experiments/wordnet/teacher --template plain --max-new-tokens 40 \
    --estimators "$list" --out $out/$name "$@" > $out/$name.txt
}

# 16 prompts x 4 samples, the same prompts in every repeat: all returns and baselines without mixing; corrections and sampling
# schemes around the preset; the presets.
around='rao-blackwell/position/*/independent/0.2,rao-blackwell/position/none/*/0,rao-blackwell/position/token/*/0.2,preset/*'
all="*/*/none/independent/0,$around"
# The baselines that matter.
some='*/none/none/independent/0,*/batch/none/independent/0,*/position/none/independent/0,*/leave-one-out/none/independent/0'
some="$some,*/value/none/independent/0,$around"
measure remaining $student "$all" --data $out/wordnet/valid.jsonl
measure off $student "$some" --data $out/wordnet/valid.jsonl --set length_norm=off
measure remaining-200 $out/student-200/final "$some" --data $out/wordnet/valid.jsonl

# Other prompts in every repeat, as in training: 64 rollouts as 64 x 1 and as 16 x 4.
k1='*/position/none/independent/0,preset/minillm'
k4="$k1,rao-blackwell/leave-one-out/none/independent/0,rao-blackwell/position/none/*/0,rao-blackwell/position/token/*/0.2"
measure fresh-64x1 $student "$k1" --data $out/wordnet/train.jsonl --fresh-prompts --prompts 64 --samples 1
measure fresh-16x4 $student "$k4" --data $out/wordnet/train.jsonl --fresh-prompts --prompts 16 --samples 4

# The default objective with one switch changed, trained and judged on validation prompts.
head -300 $out/wordnet/valid.jsonl > $out/wordnet/valid-300.jsonl
minillm sweep experiments/variance/objectives-sweep.yaml --out $out/objectives
minillm sweep experiments/variance/samples-sweep.yaml --out $out/samples
