#!/usr/bin/env bash
# VoxCeleb as TaoRuijie/ECAPA-TDNN has it: from the unpacked corpora to a table of error rates.
#   run.sh --vox1 DIR --vox2 DIR --musan DIR --rirs DIR --model ecapa_c1024
# Each variable is an option: `--top-n 400` sets top_n.
# --dry-run prints the commands; stages are told in ../steps.sh.
set -euo pipefail

stage=1 stop_stage=10
model=ecapa_c1024
num_gpus=1
work=.                # data, exp, emb and scores are made here
shar=no               # yes: train from archives of the training data, for disks far away
vox1='' vox2='' musan='' rirs=''  # folders of the corpora, absolute
lists_folder='' fetch=no  # folder of the trial lists ('': that of --vox1); yes: by network
initial=''            # weights to start from, of `svtool import`
train_options=''      # more for svtool train, such as "--set engine.precision=bf16"
average_last=1        # the last epoch alone; all 80 are kept, as published
extract_options='--crops 5 --crop-seconds 3.015'  # '': the cosine of whole utterances
subtract_mean=no cohort=train top_n=400  # the cohort is every training utterance
qmf_features=wespeaker-voxceleb qmf_options='--num-trials 30000'
plda_options='--center' plda_score_options=''

source "$(dirname "$0")/../steps.sh"
parse_options "$@"
declare -A trials
enroll_options=()
use_voxceleb
dev_options=(--dev-data data/vox1/test --dev-trials "${trials[O]}")  # after every epoch

check_corpora() {
  check_voxceleb
  need_noise
}

prepare_data() {
  prepare_voxceleb
  prepare_noise smallroom mediumroom largeroom simulated
}

run_stages
