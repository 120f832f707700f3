# Runs one server no longer than the process that started it.
#
# $1: the signal that ends the server once our starter is gone
# $2: a directory to delete then, or nothing
# the rest: the server's command line
#
# stdin is a pipe whose other end only our starter holds: its end of file means
# that the starter is gone, however it went. stdout takes the server's pid,
# stderr is the server's log.
signal=$1
trash=$2
shift 2
exec 3<&0 </dev/null

"$@" 3<&- >&2 &
server=$!
trap 'orphaned=yes; kill -"$signal" "$server"' TERM
trap '' PIPE
echo "$server"
exec >/dev/null 2>&1

(
    read -r nothing <&3
    kill -TERM $$
    seconds=0
    while [ "$seconds" -lt 30 ]; do
        sleep 1
        seconds=$((seconds + 1))
    done
    kill -KILL "$server"
) &
watcher=$!
exec 3<&-

# A trapped signal ends `wait` early, with the server still there.
while :; do
    wait "$server"
    code=$?
    [ "$code" -gt 128 ] && kill -0 "$server" || break
done
kill "$watcher"
wait "$watcher"

if [ "$orphaned" = yes ] && [ -n "$trash" ]; then
    cd / && rm -rf -- "$trash"
fi
exit "$code"
