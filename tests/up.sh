# Sourced by scripts that want a server of their own. `up NAME=VALUE …` starts a fresh
# `headwater up` in $folder, with these settings, until the script ends: $api is its address.
# Needs $root, and a build.
headwater=$root/target/debug/headwater

up() {
  folder=$(mktemp -d)
  (cd "$folder" && exec env LISTEN_ADDRESS=127.0.0.1:0 TRACE_FILTER=warn "$@" "$headwater" up) \
    >"$folder/up.out" 2>&1 &
  server=$!
  trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$folder"' EXIT
  for _ in $(seq 120); do
    api=$(sed -n 's,.*\(http://[0-9.:]*\)/v1.*,\1,p' "$folder/up.out")
    [ -z "$api" ] || return 0
    kill -0 $server || break
    sleep 0.5
  done
  cat "$folder/up.out"
  return 1
}
