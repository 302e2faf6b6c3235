#!/bin/sh
. "$(dirname "$0")/check.sh"
check "every widget is listed" 12 sh -c "'$widgets' list | wc -l | tr -d ' '"
check "a line has price, stock and name" "gear          11.20     23  Spur gear" sh -c "'$widgets' list | grep '^gear '"
exit $bad
