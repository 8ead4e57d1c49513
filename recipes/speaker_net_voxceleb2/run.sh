#!/usr/bin/env bash
# VoxCeleb as speaker-net has it: from the unpacked corpora to a table of error rates.
#   run.sh --vox1 DIR --vox2 DIR --voxsrc22 DIR --musan DIR --rirs DIR --model resnet34_c32_lm
# Each variable is an option: `--top-n 300` sets top_n. A model NAME_lm trains NAME first.
# --dry-run prints the commands; stages are told in ../steps.sh.
set -euo pipefail

stage=1 stop_stage=10
model=resnet34_c32_lm
num_gpus=1
work=.                # data, exp, emb and scores are made here
shar=no               # yes: train from archives of the training data, for disks far away
vox1='' vox2='' musan='' rirs=''  # folders of the corpora, absolute
lists_folder='' fetch=no  # folder of the trial lists ('': that of --vox1); yes: by network
voxsrc21=yes          # no: leave out the validation list of VoxSRC 2021
voxsrc22=''           # folder of the validation set of VoxSRC 2022; '': leave it out
initial=''            # weights to start from, of `svtool import`
train_options=''      # more for svtool train; with several GPUs "--set engine.sync_batchnorm=true"
average_last=1        # the last epoch alone
start_epoch=''        # epoch of the base to fine-tune; '': the published one, of ../table.tsv
subtract_mean=no cohort=speakers cohort_options=--length-norm top_n=300
qmf_features=speaker-net qmf_stats=inner-product qmf_options='--num-trials 30000'
plda_options='--center' plda_score_options=''

source "$(dirname "$0")/../steps.sh"
parse_options "$@"
declare -A trials
enroll_options=()
use_voxceleb
lists+=(O-original E-original H-original)
trials+=([O-original]=data/vox1/test/trials-O [E-original]=data/vox1/all/trials-E
  [H-original]=data/vox1/all/trials-H)
if [ "$voxsrc21" = yes ]; then
  lists+=(VoxSRC21-val)
  trials+=([VoxSRC21-val]=data/voxsrc21/trials)
fi
if [ -n "$voxsrc22" ]; then
  test_data=data/vox1-voxsrc22
  lists+=(VoxSRC22-dev)
  trials+=([VoxSRC22-dev]=data/voxsrc22/trials)
fi

check_corpora() {
  check_voxceleb
  need_list vox1 veri_test.txt list_test_all.txt list_test_hard.txt
  if [ "$voxsrc21" = yes ]; then need_list vox1 voxsrc2021_val.txt; fi
  if [ -n "$voxsrc22" ]; then
    need voxsrc22 .
    need_list voxsrc22 voxsrc2022_dev_fixed.txt
  fi
  need musan noise music speech
  need rirs simulated_rirs/{small,medium}room real_rirs_isotropic_noises pointsource_noises
}

prepare_voxsrc() { # lists of recordings of VoxCeleb1; that of 2022 has recordings of its own, too
  if [ "$voxsrc21" = yes ]; then
    run svtool prepare voxsrc "$vox1" data/voxsrc21 --year 2021 "${list_options[@]}"
  fi
  if [ -n "$voxsrc22" ]; then
    run svtool prepare voxsrc "$voxsrc22" data/voxsrc22 --year 2022 --voxceleb1 "$vox1" \
      "${list_options[@]}"
    run svtool data filter data/voxsrc22 data/voxsrc22-own --exclude --utts data/vox1/all/utt2spk \
      --force
    run svtool data combine data/vox1/all data/voxsrc22-own "$test_data" --force
  fi
}

prepare_data() {
  prepare_voxceleb
  prepare_voxsrc
  prepare_noise smallroom mediumroom small-medium
}

run_stages
