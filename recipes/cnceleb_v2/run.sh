#!/usr/bin/env bash
# CN-Celeb as WeSpeaker has it: from the unpacked corpora to a table of error rates.
#   run.sh --cnceleb DIR --musan DIR --rirs DIR --model resnet34_lm --num-gpus 2
# Each variable is an option: `--top-n 300` sets top_n. A model NAME_lm trains NAME first.
# --dry-run prints the commands; stages are told in ../steps.sh.
set -euo pipefail

stage=1 stop_stage=10
model=resnet34_lm
num_gpus=2
work=.                # data, exp, emb and scores are made here
shar=no               # yes: train from archives of the training data, for disks far away
cnceleb='' musan='' rirs=''  # folders of the corpora, absolute
initial=''            # weights to start from, of `svtool import`
train_options=''      # more for svtool train, such as "--set engine.precision=bf16"
subtract_mean=yes cohort=speakers top_n=300
qmf_features=wespeaker-cnceleb qmf_options='--num-trials 60000'
plda_options='--center --num-iters 5' plda_score_options='--length-norm none'

source "$(dirname "$0")/../steps.sh"
parse_options "$@"
train_data=data/cnceleb-5s/train test_data=data/cnceleb-5s/averaged lists=(eval)
declare -A trials=([eval]=data/cnceleb-5s/eval/trials)
enroll_options=(--enroll-spk2utt data/cnceleb-5s/eval/enroll_spk2utt)

check_corpora() {
  need cnceleb .
  need_file cnceleb enroll.map trials.lst
  need_noise
}

prepare_data() {
  run svtool prepare cnceleb "$cnceleb" data/cnceleb-5s --combine-short 5
  # The joined enrolments bear the names of the averaged ones.
  run svtool data filter data/cnceleb-5s/eval "$test_data" --exclude \
    --utts data/cnceleb-5s/eval/enroll_spk2utt --force
  prepare_noise smallroom mediumroom largeroom simulated
}

run_stages
