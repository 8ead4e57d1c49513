#!/usr/bin/env bash
# VoxCeleb as WeSpeaker has it: from the unpacked corpora to a table of error rates.
#   run.sh --vox1 DIR --vox2 DIR --musan DIR --rirs DIR --model resnet34_lm --num-gpus 2
# Each variable is an option: `--top-n 300` sets top_n. A model NAME_lm trains NAME first.
# --dry-run prints the commands; stages are told in ../steps.sh.
set -euo pipefail

stage=1 stop_stage=10
model=resnet34_lm
num_gpus=2
work=.                # data, exp, emb and scores are made here
shar=no               # yes: train from archives of the training data, for disks far away
vox1='' vox2='' musan='' rirs=''  # folders of the corpora, absolute
lists_folder='' fetch=no  # folder of the trial lists ('': that of --vox1); yes: by network
initial=''            # weights to start from, of `svtool import` (simam_resnet34_lm, simam_resnet100_lm)
train_options=''      # more for svtool train, such as "--set engine.precision=bf16"
subtract_mean=yes cohort=speakers top_n=300
qmf_features=wespeaker-voxceleb qmf_options='--num-trials 30000'
plda_options='--center --num-iters 5' plda_score_options='--length-norm none'

source "$(dirname "$0")/../steps.sh"
parse_options "$@"
declare -A trials
enroll_options=()
use_voxceleb

check_corpora() {
  check_voxceleb
  need_noise
}

prepare_data() {
  prepare_voxceleb
  prepare_noise smallroom mediumroom largeroom simulated
}

run_stages
