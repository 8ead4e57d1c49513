#!/usr/bin/env bash
# VoxCeleb as speaker-net has it: from the unpacked corpora to a table of error rates.
#   run.sh --vox1 DIR --vox2 DIR --musan DIR --rirs DIR --model resnet34_c32_lm
# Each variable is an option: `--top-n 300` sets top_n. A model NAME_lm trains NAME first.
# --dry-run prints the commands; stages are told in ../steps.sh.
set -euo pipefail

stage=1 stop_stage=10
model=resnet34_c32_lm
num_gpus=1
work=.                # data, exp, emb and scores are made here
shar=no               # yes: train from archives of the training data, for disks far away
vox1='' vox2='' musan='' rirs=''  # folders of the corpora, absolute
initial=''            # weights to start from; no recipe here asks for them
train_options=''      # more for svtool train; with several GPUs "--set engine.sync_batchnorm=true"
subtract_mean=no cohort=speakers cohort_options=--length-norm top_n=300
qmf_features=speaker-net qmf_stats=inner-product qmf_options='--num-trials 30000'
plda_options='--center' plda_score_options=''

source "$(dirname "$0")/../steps.sh"
parse_options "$@"
declare -A trials
enroll_options=()
use_voxceleb

prepare_data() {
  prepare_voxceleb
  prepare_noise smallroom mediumroom small-medium
}

run_stages
