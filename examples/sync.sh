#!/usr/bin/env bash
# Reads streams of Kustomer into one file each: one row a line, in JSON. Run it again, and it appends
# what has changed since. Of the rows with one id, the last one is the newest.
#
#     examples/sync.sh secrets/kustomer.json rows customers conversations tags
#
# Needs jq, and source-kustomer on the PATH.
set -euo pipefail

config=$1 out=$2
shift 2
mkdir -p "$out"
[ -e "$out/state.json" ] || echo '[]' >"$out/state.json"

# Incremental, where a stream offers it.
source-kustomer discover --config "$config" | jq '
  select(.type == "CATALOG") | {streams: [
    .catalog.streams[] | select(IN(.name; $ARGS.positional[])) | {
      stream: .,
      sync_mode: (if any(.supported_sync_modes[]; . == "incremental")
                  then "incremental" else "full_refresh" end),
      destination_sync_mode: "append"
    }]}' --args "$@" >"$out/catalog.json"

# A failed read is kept too: its rows are good, and its states say how far they reach.
status=0
source-kustomer read --config "$config" --catalog "$out/catalog.json" \
  --state "$out/state.json" >"$out/messages.jsonl" || status=$?

for stream in "$@"; do
  jq --compact-output --arg stream "$stream" \
    'select(.type == "RECORD" and .record.stream == $stream) | .record.data' \
    "$out/messages.jsonl" >>"$out/$stream.jsonl"
done

# The last state of each stream, written after the rows that it covers.
jq --null-input --compact-output --slurpfile old "$out/state.json" '
  reduce (inputs | select(.type == "STATE") | .state) as $state
    ($old[0]; map(select(.stream.stream_descriptor != $state.stream.stream_descriptor)) + [$state])
  ' "$out/messages.jsonl" >"$out/state.new"
mv "$out/state.new" "$out/state.json"

# What went wrong, as sentences.
jq --raw-output 'select(.trace.type? == "ERROR") | .trace.error.message' "$out/messages.jsonl" >&2
exit "$status"
