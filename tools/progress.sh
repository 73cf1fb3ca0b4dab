# Progress of long work, for other scripts: source tools/progress.sh
#
# On a terminal, a bar for the time that the work is expected to take. Elsewhere, lines only.
# shellcheck shell=bash

# The process that draws the bar.
progress_bar=

# about SECONDS: the time in words.
about() {
  if [ "$1" -lt 90 ]; then echo "about $1 s"; else echo "about $((($1 + 30) / 60)) min"; fi
}

# draw_bar DONE TOTAL: one line without an end. Work that takes longer than expected has a full bar.
draw_bar() {
  local filled=$(($1 >= $2 ? 30 : 30 * $1 / $2)) bar
  printf -v bar '%*s' "$filled" ''
  printf '\r[%-30s] %s s, %s in all\033[K' "${bar// /=}" "$1" "$(about "$2")"
}

# begin_bar SECONDS: draws a bar on standard error until end_bar, if that is a terminal.
begin_bar() {
  [ -t 2 ] || return 0
  (
    for ((seconds = 0; ; seconds++)); do
      draw_bar "$seconds" "$1" >&2
      sleep 1
    done
  ) &
  progress_bar=$!
}

# Makes room for a line of output. The bar is drawn again below it.
clear_bar() {
  [ ! -t 2 ] || printf '\r\033[K' >&2
}

end_bar() {
  [ -n "$progress_bar" ] || return 0
  kill "$progress_bar" 2>/dev/null || true
  wait "$progress_bar" 2>/dev/null || true
  progress_bar=
  clear_bar
}
