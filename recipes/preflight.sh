# What every stage of a run.sh needs, checked before the first one starts. A run.sh defines
# check_corpora, which calls `need` and `need_list`; steps.sh calls `preflight`.

problems=()

has_recordings() { # FOLDER
  [ -d "$1" ] && [ -n "$(find -L "$1" -type f \
    \( -name '*.wav' -o -name '*.flac' -o -name '*.m4a' \) -print -quit)" ]
}

need() { # OPTION [FOLDER...]: recordings in the folder of an option, or in folders below it
  local root=${!1} below
  if [ -z "$root" ]; then
    problems+=("--${1//_/-} is missing: the folder of the corpus")
    return
  fi
  for below in "${@:2}"; do
    has_recordings "$root/$below" || problems+=("--${1//_/-}: no recordings in \`$root/$below\`")
  done
}

need_list() { # OPTION FILE...: trial lists in `--lists` or in the folder of an option
  local file folder root=${lists_folder:-${!1}}
  if [ "$fetch" = yes ] || [ -z "$root" ]; then return; fi
  for file in "${@:2}"; do
    for folder in "$root" "$root/meta" "$root/lists"; do
      if [ -f "$folder/$file" ]; then continue 2; fi
    done
    problems+=("no trial list \`$file\` in \`$root\`: give --lists-folder DIR or --fetch yes")
  done
}

need_file() { # OPTION FILE...: files anywhere below the folder of an option
  local file
  for file in "${@:2}"; do
    if [ -d "${!1}" ] && [ -z "$(find -L "${!1}" -name "$file" -print -quit)" ]; then
      problems+=("--${1//_/-}: no \`$file\` below \`${!1}\`")
    fi
  done
}

need_noise() { # all of MUSAN, and the simulated rooms
  need musan noise music speech
  need rirs simulated_rirs/{small,medium,large}room
}

check_tables() { # training data, and the trials of the stages that score
  if [ ! -f "$train_data/wav.scp" ]; then
    problems+=("no \`$work/$train_data\`: run stage 1")
  fi
  if [ "$stop_stage" -lt 6 ]; then return; fi
  local name
  for name in "${lists[@]}"; do
    [ -s "${trials[$name]}" ] || problems+=("no trials \`$work/${trials[$name]}\`: run stage 1")
  done
}

check_starts() { # weights that the recipes start from, and packages that their networks need
  local step
  if [ -n "$initial" ] && [ ! -e "$initial" ]; then
    problems+=("--initial: no \`$initial\`")
  fi
  for step in "$@"; do
    if [ "$(start_of "$step")" = file ] && [ -z "$initial" ]; then
      problems+=("$step starts from weights that --initial names")
    fi
  done
  case $model in
    w2vbert*)
      if svtool info 2> /dev/null | grep -q '^extra ssl *missing'; then
        problems+=("$model needs transformers: pip install 'svtool[ssl]'")
      fi ;;
  esac
}

preflight() { # RECIPE...: print all that is missing, and stop with status 2
  if [ "$dry_run" = yes ]; then return; fi
  if wanted 1; then check_corpora; else check_tables; fi
  check_starts "$@"
  if [ ${#problems[@]} -gt 0 ]; then
    printf "$0: %s\n" "${problems[@]}" >&2
    exit 2
  fi
}
