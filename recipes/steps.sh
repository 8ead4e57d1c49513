# The stages that all recipes share. A run.sh sets its variables, sources this file, calls
# `parse_options "$@"`, defines what its corpora must contain (check_corpora), how they are prepared
# (prepare_data) and where the trials are (train_data, test_data, lists, trials, enroll_options), and
# ends with `run_stages`, which first checks that nothing is missing (preflight.sh).
#
# Stages: 1 prepare (with --shar yes also archives of the training data), 2 train, 3 average,
# 4 fine-tune, 5 extract, 6 cosine, 7 AS-norm, 8 QMF, 9 PLDA, 10 table of error rates.

recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(basename "$(dirname "$0")")
dry_run=no
: "${average_last:=0}"  # epochs that are averaged; 0: all that engine.keep_last has left
: "${start_epoch:=}"  # epoch of the base to fine-tune, in place of the one in table.tsv
dev_options=()  # --dev-data and --dev-trials of svtool train
source "$recipes/preflight.sh"

parse_options() { # --some-name VALUE sets some_name, if run.sh has such a variable
  while [ $# -gt 0 ]; do
    case $1 in
      --dry-run) dry_run=yes; shift; continue ;;
      --help) sed -n '2,/^source/p' "$0"; exit 0 ;;
      --[a-z]*) ;;
      *) echo "$0: \`$1\` is no option" >&2; exit 2 ;;
    esac
    local name=${1#--}
    name=${name//-/_}
    if ! grep -qE "(^| )$name=" "$0" || [ $# -lt 2 ]; then
      echo "$0: \`$1\` is no option, or has no value; --help lists all" >&2
      exit 2
    fi
    printf -v "$name" %s "$2"
    shift 2
  done
  if [ ! -f "$recipes/$folder/$model.toml" ]; then
    echo "$0: no recipe \`$recipes/$folder/$model.toml\`" >&2
    exit 2
  fi
  if [ "$dry_run" = no ]; then
    mkdir -p "$work"
    cd "$work"
  fi
}

run() { # print a command, and run it unless --dry-run was given
  printf '%q ' "$@"
  printf '\n'
  if [ "$dry_run" = no ]; then "$@"; fi
}

wanted() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

start_of() { # what a recipe starts from: -, FOLDER/RECIPE[:epoch:N], hub:NAME, or file
  awk -F '\t' -v recipe="$folder/$1" '$1 == recipe { print $2 }' "$recipes/table.tsv"
}

chain_of() { # the recipes that lead to a recipe, first to last
  local start
  start=$(start_of "$1")
  start=${start%%:epoch:*}
  case $start in "$folder"/*) chain_of "${start#*/}" ;; esac
  echo "$1"
}

training_data() { # what is trained from: the data directory, or the archives of it
  if [ "$shar" = yes ]; then echo "$train_data-shar"; else echo "$train_data"; fi
}

write_archives() { # those that are whole are kept
  if [ "$shar" = yes ]; then
    run svtool data to-shar "$train_data" "$(training_data)" --num-procs "$num_gpus" --resume
  fi
}

train_one() {
  local exp=exp/$folder/$1 start options=()
  if [ -f "$exp/final.pt" ]; then
    echo "# $exp is trained"
    return
  fi
  start=$(start_of "$1")
  if [ "$1" = "$model" ] && [ -n "$initial" ]; then start=file; fi
  case $start in
    -) ;;
    hub:*)
      local weights=exp/weights/${start##*/}.pt
      [ -f "$weights" ] || run svtool import "$start" "$weights"
      options=(--init "$weights") ;;
    file)
      if [ -z "$initial" ]; then
        echo "$0: $1 starts from weights that --initial names" >&2
        exit 2
      fi
      options=(--init "$initial") ;;
    *:epoch:*) options=(--init "exp/${start%:*}:${start_epoch:-${start##*:}}") ;;
    *) options=(--init "exp/$start/average.pt") ;;
  esac
  if [ -f "$exp/state.pt" ]; then options+=(--resume); fi
  local more
  read -ra more <<< "$train_options"
  run svtool train --config "$recipes/$folder/$1.toml" --data "$(training_data)" --exp-dir "$exp" \
    --num-procs "$num_gpus" "${options[@]}" "${dev_options[@]}" "${more[@]}"
}

average_one() {
  local exp=exp/$folder/$1
  if [ "$average_last" -gt 0 ]; then
    run svtool average --last "$average_last" "$exp" "$exp/average.pt" --force
  else
    run svtool average "$exp"/epoch-*.pt "$exp/average.pt" --force
  fi
}

extract_all() {
  local average=exp/$folder/$model/average.pt more means
  read -ra more <<< "${extract_options:-}"
  read -ra means <<< "${cohort_options:-}"
  more+=(--num-procs "$num_gpus" --resume)
  run svtool extract "$average" "$train_data" "$emb/train" "${more[@]}"
  run svtool extract "$average" "$test_data" "$emb/test" "${more[@]}"
  run svtool mean "$train_data/spk2utt" "$emb/train" "$emb/speakers" \
    --global-mean "$emb/mean.vec" "${means[@]}" --force
}

score_cosine() {
  local name
  for name in "${lists[@]}"; do
    run svtool score "${trials[$name]}" "$emb/test" "$emb/test" "$scores/$name.cosine" \
      "${submean[@]}" "${enroll_options[@]}" --force
  done
}

normalise() {
  local name
  for name in "${lists[@]}"; do
    run svtool asnorm "$scores/$name.cosine" "$emb/test" "$emb/test" "$emb/$cohort" \
      "$scores/$name.asnorm" --top-n "$top_n" --stats "$scores/$name.stats" \
      "${submean[@]}" "${enroll_options[@]}" --force
  done
}

weigh_quality() { # learn on pairs of the training set, apply to each list
  local name more quality=() cal=$scores/calibration
  read -ra more <<< "$qmf_options"
  for name in "${enroll_options[@]}"; do quality+=("${name/--enroll-spk2utt/--spk2utt}"); done
  run svtool qmf trials "$train_data" "$cal.trials" "${more[@]}" --force
  run svtool score "$cal.trials" "$emb/train" "$emb/train" "$cal.cosine" "${submean[@]}" --force
  run svtool asnorm "$cal.cosine" "$emb/train" "$emb/train" "$emb/$cohort" "$cal.asnorm" \
    --top-n "$top_n" --stats "$cal.stats" "${submean[@]}" --force
  measure "$train_data" "$emb/train" "$cal"
  run svtool qmf train "$cal.trials" "$cal.asnorm" "$cal.quality" "$scores/qmf.json" \
    --features "$qmf_features" --force
  for name in "${lists[@]}"; do
    measure "$test_data" "$emb/test" "$scores/$name" "${quality[@]}"
    run svtool qmf apply "$scores/qmf.json" "$scores/$name.asnorm" "$scores/$name.quality" \
      "$scores/$name.qmf" --force
  done
}

measure() { # DATA EMB PREFIX: those that no trial names have no statistics and are left out
  local stats=(--stats "$3.stats") # of cosines
  if [ "${qmf_stats:-}" = inner-product ]; then stats=(--cohort "$emb/$cohort" --top-n "$top_n"); fi
  run svtool qmf measure "$1" "$2" "$3.quality" "${stats[@]}" "${submean[@]}" "${@:4}" \
    --allow-missing --max-skipped 100000000 --force
}

score_plda() {
  local name train_more score_more
  read -ra train_more <<< "$plda_options"
  read -ra score_more <<< "$plda_score_options"
  run svtool plda train "$train_data/spk2utt" "$emb/train" "$emb/plda" "${train_more[@]}" --force
  for name in "${lists[@]}"; do
    run svtool plda score "$emb/plda" "$emb/test" "$emb/test" "${trials[$name]}" \
      "$scores/$name.plda" "${score_more[@]}" "${enroll_options[@]}" --force
  done
}

show_table() {
  local name kind
  for name in "${lists[@]}"; do
    local systems=()
    for kind in cosine asnorm qmf plda; do
      if [ "$dry_run" = yes ] || [ -f "$scores/$name.$kind" ]; then
        systems+=("$scores/$name.$kind")
      fi
    done
    run svtool eval "${trials[$name]}" "${systems[@]}"
  done
}

run_stages() {
  local steps step
  emb=emb/$folder/$model scores=scores/$folder/$model submean=()
  if [ "$subtract_mean" = yes ]; then submean=(--submean "$emb/mean.vec"); fi
  # With weights of another origin the recipes before it are not trained.
  if [ -n "$initial" ]; then steps=("$model"); else mapfile -t steps < <(chain_of "$model"); fi
  preflight "${steps[@]}"
  if wanted 1; then
    prepare_data
    write_archives
  fi
  if wanted 2; then train_one "${steps[0]}"; fi
  if wanted 3; then average_one "${steps[0]}"; fi
  if wanted 4; then
    for step in "${steps[@]:1}"; do
      train_one "$step"
      average_one "$step"
    done
  fi
  if wanted 5; then extract_all; fi
  if wanted 6; then score_cosine; fi
  if wanted 7; then normalise; fi
  if wanted 8; then weigh_quality; fi
  if wanted 9; then score_plda; fi
  if wanted 10; then show_table; fi
}

prepare_noise() { # ROOM... OUT: MUSAN as one directory, and these simulated rooms as another
  run svtool prepare musan "$musan" data/musan
  run svtool data combine data/musan/noise data/musan/music data/musan/speech data/musan/all --force
  run svtool prepare rirs "$rirs" data/rirs
  run svtool data combine "${@/#/data/rirs/}" --force
}

prepare_voxceleb() {
  run svtool prepare voxceleb1 "$vox1" data/vox1 "${list_options[@]}"
  run svtool prepare voxceleb2 "$vox2" data/vox2
}

check_voxceleb() { # the cleaned lists; other files are asked for by the run.sh
  need vox1 .
  need vox2 .
  need_list vox1 veri_test2.txt list_test_all2.txt list_test_hard2.txt
}

use_voxceleb() { # variables of VoxCeleb2 dev for training, VoxCeleb1 for trials
  train_data=data/vox2/dev test_data=data/vox1/all lists=(O E H)
  trials=([O]=data/vox1/test/trials-O-clean [E]=data/vox1/all/trials-E-clean
    [H]=data/vox1/all/trials-H-clean)
  list_options=()
  if [ -n "$lists_folder" ]; then list_options+=(--lists "$lists_folder"); fi
  if [ "$fetch" = yes ]; then list_options+=(--fetch); fi
}
