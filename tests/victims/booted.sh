#!/bin/bash
# What happens to hangsnap.service under a systemd that has just booted: each line that it prints is a fact, as `NAME=VALUE`.
# It runs inside, as a service; /victim sleeps, /result takes the facts.
exec > /result 2>&1
set -u
await() { # await SECONDS COMMAND..
    local limit=$1
    shift
    for _ in $(seq $((limit * 20))); do
        "$@" > /dev/null 2>&1 && return 0
        sleep 0.05
    done
    echo "TIMEOUT=$*"
    return 1
}
property() { systemctl show -P "$1" hangsnap; }
sampled() { hangsnap status --json | grep -q '"snapshots":[1-9]'; }
restarted() { [ "$(property NRestarts)" = "$1" ] && [ "$(property ActiveState)" = active ]; }
judged() { [ "$(hangsnap status --json | grep -o '"verdict":"[^"]*"' | wc -l)" -ge "$1" ]; }
said() { journalctl --sync; journalctl -u hangsnap -o cat | grep -q "$1"; }

/victim > /dev/null &
victim=$!
systemctl start hangsnap
echo "STARTED=$?"
echo "STATE=$(property ActiveState)"
await 30 sampled
echo "SAMPLED=$?"
echo "USER_IS_ROOT=$([ "$(stat -c %u "/proc/$(property MainPID)")" = 0 ] && echo yes || echo no)"
echo "CAPABILITIES=$(grep CapEff "/proc/$(property MainPID)/status" | cut -f2)"
echo "SOCKET_MODE=$(stat -c %a /run/hangsnap/control)"
# Another user is not answered.
setpriv --reuid 4242 --clear-groups hangsnap status > /dev/null 2>&1
echo "OTHER_USER=$?"

before=$(property MainPID)
systemctl reload hangsnap
echo "RELOADED=$?"
await 30 said "the settings were read again"
echo "SAME_PROCESS=$([ "$before" = "$(property MainPID)" ] && echo yes || echo no)"

kill -STOP "$victim"
hangsnap trigger > /dev/null
await 60 judged 1
echo "JUDGED=$?"
kill -CONT "$victim"
journalctl --sync
echo "LEVELS=$(journalctl -u hangsnap -o json --output-fields=PRIORITY | grep -o '"PRIORITY":"[0-9]"' | sort -u | grep -o '[0-9]' | tr -d '\n')"
echo "VERDICT_LINES=$(journalctl -u hangsnap -p err -o cat | grep -c STOPPED)"

kill -STOP "$(property MainPID)"
await 60 restarted 1
echo "RESTARTED_BY_WATCHDOG=$?"
await 30 said "Watchdog timeout"
echo "WATCHDOG_SAID=$?"
await 30 sampled
echo "SAMPLED_AGAIN=$?"

kill -KILL "$(property MainPID)"
await 60 restarted 2
echo "RESTARTED_AFTER_KILL=$?"
await 30 sampled
echo "SAMPLED_AFTER_KILL=$?"
echo "VICTIM_STATE=$(cut -d' ' -f3 "/proc/$victim/stat")"

systemctl stop hangsnap
echo "STOPPED=$?"
echo "RESULT=$(property Result)"
echo "DAMAGED=$(for recording in /var/lib/hangsnap/*.hangsnap; do hangsnap check "$recording" > /dev/null 2>&1 || echo "$recording"; done | wc -l)"
echo "RECORDINGS=$(ls -d /var/lib/hangsnap/*.hangsnap | wc -l)"
echo "DONE=yes"
systemctl poweroff --force --force
