# bash completion for wvuctl. Names of probes, their settings and log modules are asked from the sensor.

_wvuctl_ask() {
    # The sensor of the command line that is being completed; nothing when it does not answer.
    local dir=() i
    for ((i = 1; i < cword; i++)); do
        case ${words[i]} in
            --run-dir) dir=(--run-dir "${words[i + 1]}") ;;
            --run-dir=*) dir=("${words[i]}") ;;
        esac
    done
    "${words[0]}" "${dir[@]}" --timeout 1 "$@" 2>/dev/null
}

_wvuctl() {
    local cur prev words cword
    if declare -F _init_completion >/dev/null; then
        _init_completion -n = || return
    else
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
        cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    fi
    local IFS=$' \t\n' options='--run-dir --timeout --json --help --version' command='' arguments=() i
    for ((i = 1; i < cword; i++)); do
        case ${words[i]} in
            --run-dir | --timeout | --key | --count) ((i++)) ;;
            -*) ;;
            *) if [ -z "$command" ]; then command=${words[i]}; else arguments+=("${words[i]}"); fi ;;
        esac
    done
    case $prev in
        --run-dir)
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
            return
            ;;
        --timeout | --key | --count) return ;;
    esac
    local choices=''
    case $command in
        '') choices='status probes enable disable configure stats log filter kill protect schema echo shutdown' ;;
        probes) choices=$(_wvuctl_ask probes --names) options+=' --names' ;;
        enable | disable) choices="$(_wvuctl_ask probes --names) all" ;;
        configure)
            if [ ${#arguments[@]} -eq 0 ]; then
                choices="$(_wvuctl_ask probes --names) all"
            else
                # What is set now, as it would be typed: to be changed.
                choices=$(_wvuctl_ask configure "${arguments[0]}" | sed 's/^[^ =]* //; s/=.*/=/')
                [[ $cur == *=* ]] && choices="${cur%%=*}=on ${cur%%=*}=off"
            fi
            ;;
        stats) options+=' --watch --count' ;;
        log)
            choices="all= $(_wvuctl_ask log | sed 's/=.*/=/')"
            [[ $cur == *=* ]] && choices=$(printf "${cur%%=*}=%s " error warning info trace)
            ;;
        filter)
            if [ ${#arguments[@]} -eq 0 ]; then
                choices='show set clear'
            elif [ "${arguments[0]}" = set ]; then
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                compopt -o filenames 2>/dev/null
                return 0
            fi
            ;;
        kill)
            options+=' --key'
            [ ${#arguments[@]} -ne 0 ] || choices=$(cd /proc && printf '%s ' [0-9]*)
            ;;
        protect) [ ${#arguments[@]} -ne 0 ] || choices='on off status' ;;
    esac
    [[ $cur == -* ]] && choices=$options
    # Names are taken in any case; the completed word has the probe's own.
    local choice
    COMPREPLY=()
    for choice in $choices; do
        [[ ${choice,,} == "${cur,,}"* ]] && COMPREPLY+=("$choice")
    done
    # '=' parts words for readline unless it was told otherwise: offer what is behind it alone.
    if [[ $cur == *=* && $COMP_WORDBREAKS == *=* ]]; then
        for i in "${!COMPREPLY[@]}"; do
            COMPREPLY[i]=${COMPREPLY[i]#*=}
        done
    fi
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _wvuctl wvuctl
