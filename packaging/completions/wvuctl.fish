# fish completion for wvuctl. Names of probes, their settings and log modules are asked from the sensor.

function __wvuctl_ask
    set -l words (commandline -opc)
    set -l dir
    for i in (seq (count $words))
        switch $words[$i]
            case --run-dir
                set -l next (math $i + 1)
                test $next -le (count $words); and set dir --run-dir $words[$next]
            case '--run-dir=*'
                set dir $words[$i]
        end
    end
    command wvuctl $dir --timeout 1 $argv 2>/dev/null
end

function __wvuctl_probe
    # The word behind the command: the probe that is configured.
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        if test $words[$i] = configure; and test (count $words) -gt $i
            echo $words[(math $i + 1)]
            return 0
        end
    end
    return 1
end

set -l commands status probes enable disable configure stats log filter kill protect schema echo shutdown
set -l none "not __fish_seen_subcommand_from $commands"

complete -c wvuctl -f
complete -c wvuctl -l run-dir -x -a '(__fish_complete_directories)' -d 'run directory of the sensor'
complete -c wvuctl -l timeout -x -d 'seconds to wait'
complete -c wvuctl -l json -d 'print JSON'
complete -c wvuctl -l help -d 'print help'
complete -c wvuctl -l version -d 'print the version'

complete -c wvuctl -n $none -a status -d 'what the sensor is and how it is set'
complete -c wvuctl -n $none -a probes -d 'state, counters, configuration'
complete -c wvuctl -n $none -a enable -d 'let probes report events'
complete -c wvuctl -n $none -a disable -d 'stop probes'
complete -c wvuctl -n $none -a configure -d 'set what a probe does; show it'
complete -c wvuctl -n $none -a stats -d counters
complete -c wvuctl -n $none -a log -d 'what the sensor logs'
complete -c wvuctl -n $none -a filter -d 'the rules'
complete -c wvuctl -n $none -a kill -d 'end a process'
complete -c wvuctl -n $none -a protect -d 'let the sensor refuse to be stopped'
complete -c wvuctl -n $none -a schema -d 'the events that the sensor knows'
complete -c wvuctl -n $none -a echo -d 'is the sensor there?'
complete -c wvuctl -n $none -a shutdown -d 'stop the sensor'

complete -c wvuctl -n '__fish_seen_subcommand_from probes' -l names -d 'print names only'
complete -c wvuctl -n '__fish_seen_subcommand_from probes' -a '(__wvuctl_ask probes --names)'
complete -c wvuctl -n '__fish_seen_subcommand_from enable disable' -a '(__wvuctl_ask probes --names) all'
complete -c wvuctl -n '__fish_seen_subcommand_from configure; and not __wvuctl_probe >/dev/null' \
    -a '(__wvuctl_ask probes --names) all'
complete -c wvuctl -n '__fish_seen_subcommand_from configure; and __wvuctl_probe >/dev/null' \
    -a '(__wvuctl_ask configure (__wvuctl_probe) | string replace -r "^[^ =]* " "")'
complete -c wvuctl -n '__fish_seen_subcommand_from stats' -l watch -d 'print rates'
complete -c wvuctl -n '__fish_seen_subcommand_from stats' -l count -x -d 'end after lines'
complete -c wvuctl -n '__fish_seen_subcommand_from log' -a '(__wvuctl_ask log)'
complete -c wvuctl -n '__fish_seen_subcommand_from filter; and not __fish_seen_subcommand_from show set clear' \
    -a 'show set clear'
complete -c wvuctl -n '__fish_seen_subcommand_from filter; and __fish_seen_subcommand_from set' -F
complete -c wvuctl -n '__fish_seen_subcommand_from kill' -l key -x -d 'only this process'
complete -c wvuctl -n '__fish_seen_subcommand_from kill' -a '(__fish_complete_pids)'
complete -c wvuctl -n '__fish_seen_subcommand_from protect' -a 'on off status'
