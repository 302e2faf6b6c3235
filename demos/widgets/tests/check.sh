# Sourced by the tests. check WHAT WANTED COMMAND...: runs it and compares what it prints.
widgets=$(dirname "$0")/../bin/widgets
bad=0

check() {
    what=$1 wanted=$2
    shift 2
    got=$("$@" 2>&1) || true
    if [ "$got" = "$wanted" ]; then
        echo "  ok      $what"
    else
        echo "  FAILED  $what: wanted '$wanted', got '$got'"
        bad=1
    fi
}
