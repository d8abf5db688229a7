#compdef wvuctl
# zsh completion for wvuctl. Names of probes, their settings and log modules are asked from the sensor.

_wvuctl_ask() {
    local -a dir
    (( ${+opt_args[--run-dir]} )) && dir=(--run-dir "${opt_args[--run-dir]}")
    _call_program probes wvuctl $dir --timeout 1 "$@" 2>/dev/null
}

_wvuctl_probes() {
    local -a names
    names=(${(f)"$(_wvuctl_ask probes --names)"} $1)
    compadd -M 'm:{a-zA-Z}={A-Za-z}' -a names
}

_wvuctl_settings() {
    local -a keys
    keys=(${(f)"$(_wvuctl_ask configure $words[2] | sed 's/^[^ =]* //; s/=.*//')"})
    if compset -P '*='; then
        compadd on off
    else
        compadd -S = -a keys
    fi
}

_wvuctl_levels() {
    local -a modules
    if compset -P '*='; then
        compadd error warning info trace
    else
        modules=(all ${(f)"$(_wvuctl_ask log | sed 's/=.*//')"})
        compadd -S = -a modules
    fi
}

_wvuctl_arguments() {
    case $words[1] in
        probes) _arguments '--names[print names only]' '*:probe:_wvuctl_probes' ;;
        enable | disable) _arguments '*:probe:_wvuctl_probes all' ;;
        configure) _arguments '1:probe:_wvuctl_probes all' '*:setting:_wvuctl_settings' ;;
        stats) _arguments '--watch=-[print rates]::seconds:' '--count[end after lines]:lines:' ;;
        log) _arguments '*:level:_wvuctl_levels' ;;
        filter) _arguments '1:action:(show set clear)' '2:file:_files' ;;
        kill) _arguments '--key[only this process]:key:' '1:process:_pids' ;;
        protect) _arguments '1:what:(on off status)' ;;
    esac
}

_wvuctl() {
    local curcontext=$curcontext
    local -a commands
    commands=(
        'status:what the sensor is and how it is set'
        'probes:state, counters, configuration'
        'enable:let probes report events'
        'disable:stop probes'
        'configure:set what a probe does; show it'
        'stats:counters'
        'log:what the sensor logs'
        'filter:the rules'
        'kill:end a process'
        'protect:let the sensor refuse to be stopped'
        'schema:the events that the sensor knows'
        'echo:is the sensor there?'
        'shutdown:stop the sensor'
    )
    local state line
    typeset -A opt_args
    _arguments -C \
        '--run-dir[run directory of the sensor]:directory:_files -/' \
        '--timeout[how long to wait]:seconds:' \
        '--json[print JSON]' \
        '--help[print help]' \
        '--version[print the version]' \
        '1:command:->command' \
        '*::argument:->argument'
    case $state in
        command) _describe command commands ;;
        argument) _wvuctl_arguments ;;
    esac
}

_wvuctl "$@"
