#!/usr/bin/env bash
# The systems of 3D-Speaker: from the unpacked corpora to a table of error rates.
#   run.sh --vox1 DIR --vox2 DIR --musan DIR --rirs DIR --model voxceleb_eres2net_base_lm
#   run.sh --cnceleb DIR --musan DIR --rirs DIR --model cnceleb_campplus
#   run.sh --corpus 3DSPEAKER --musan DIR --rirs DIR --model 3dspeaker_eres2netv2_lm
# The model's first word is the corpus. Each variable is an option: `--top-n 300` sets top_n.
# A model NAME_lm trains NAME first. --dry-run prints the commands; stages: ../steps.sh.
set -euo pipefail

stage=1 stop_stage=10
model=voxceleb_eres2net_base_lm
num_gpus=4            # batches of the recipes are those of each of four; else set batch_size
work=.                # data, exp, emb and scores are made here
shar=no               # yes: train from archives of the training data, for disks far away
vox1='' vox2='' cnceleb='' corpus='' musan='' rirs=''  # folders of the corpora, absolute
lists_folder='' fetch=no  # folder of the trial lists ('': that of --vox1); yes: by network
initial=''            # weights to start from, of `svtool import`
train_options=''      # more for svtool train, such as "--set batch_size=256"
subtract_mean=no cohort=speakers top_n=300
qmf_features=wespeaker-cnceleb qmf_options='--num-trials 30000'
plda_options='--center' plda_score_options=''

source "$(dirname "$0")/../steps.sh"
parse_options "$@"
declare -A trials
enroll_options=()
case $model in
  voxceleb_*) use_voxceleb ;;
  cnceleb_*)
    train_data=data/cnceleb/train test_data=data/cnceleb/eval lists=(eval)
    trials=([eval]=$test_data/trials) ;;
  3dspeaker_*)
    train_data=data/3dspeaker/train test_data=data/3dspeaker/test lists=(device distance dialect)
    trials=([device]=$test_data/trials-device [distance]=$test_data/trials-distance
      [dialect]=$test_data/trials-dialect) ;;
esac

check_corpora() {
  case $model in
    voxceleb_*) check_voxceleb ;;
    cnceleb_*)
      need cnceleb .
      need_file cnceleb trials.lst ;;
    3dspeaker_*)
      need corpus .
      need_file corpus trials_cross_{device,distance,dialect} ;;
  esac
  need musan noise/free-sound
  need rirs real_rirs_isotropic_noises
}

prepare_data() {
  case $model in
    voxceleb_*) prepare_voxceleb ;;
    cnceleb_*) run svtool prepare cnceleb "$cnceleb" data/cnceleb ;;
    3dspeaker_*) run svtool prepare 3dspeaker "$corpus" data/3dspeaker ;;
  esac
  run svtool prepare musan "$musan" data/free-sound --collections free-sound
  run svtool prepare rirs "$rirs" data/rirs
}

run_stages
